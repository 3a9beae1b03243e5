// SPDX-License-Identifier: Apache-2.0

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { client, data, type Pod, type Schemas } from "../../api/client";
import { keyOf, useSession } from "../../api/session";
import { bytes, percent, perSecond } from "../../lib/format";
import { Chart, type Series } from "../../ui/Chart";
import { Problem } from "../../ui/Problem";
import { Card, Empty, Loading } from "../../ui/parts";

type Stats = Schemas["PodStats"];

const EVERY = 2_000; // milliseconds between two samples
const KEPT = 900; // samples, for half an hour

/** MetricsTab draws the pod's usage as counted by the kernel inside it, from when the page was opened. Prometheus keeps the history. */
export default function MetricsTab({ pod }: { pod: Pod }) {
  const session = useSession();
  const queries = useQueryClient();
  const key = useMemo(() => [keyOf(session), "stats", pod.id], [session, pod.id]);
  const running = pod.status.phase === "Running";
  const q = useQuery({
    queryKey: key,
    queryFn: async () => {
      const next = await data(client.GET("/v1/pods/{podId}/stats", { params: { path: { podId: pod.id } } }));
      const before = queries.getQueryData<Stats[]>(key) ?? [];
      return [...before.filter((s) => s.bootId === next.bootId), next].slice(-KEPT);
    },
    enabled: running,
    refetchInterval: EVERY,
    gcTime: 30 * 60_000,
  });
  const drawn = useMemo(() => draw(q.data ?? []), [q.data]);
  if (!running && !q.data)
    return (
      <Empty title="The pod is not running">
        <p>Metrics come from the kernel inside a running pod. This pod is {pod.status.phase}.</p>
      </Empty>
    );
  const last = q.data?.at(-1);
  if (q.error && !last) return <Problem error={q.error} retry={() => void q.refetch()} />;
  if (!last) return <Loading what="Loading the metrics" />;
  const filled = last.disks.filter((d) => d.usedBytes !== undefined && d.capacityBytes !== undefined);
  return (
    <>
      {q.error && <Problem error={q.error} title="These metrics are not up to date." />}
      <div className="cards two">
        <Card title="CPU">
          <Chart label="CPU" times={drawn.times} series={drawn.cpu} show={percent} max={0.1} />
        </Card>
        <Card title="Memory">
          <Chart label="Memory" times={drawn.times} series={drawn.memory} show={bytes} binary max={last.pod.memoryTotalBytes} />
        </Card>
        <Card title="Network">
          <Chart label="Network" times={drawn.times} series={drawn.network} show={perSecond} binary max={1024} />
        </Card>
        <Card title="Disks">
          <Chart label="Disks" times={drawn.times} series={drawn.disk} show={perSecond} binary max={1024} />
        </Card>
        {last.pod.cpuPressurePercent !== undefined && (
          <Card title="Pressure">
            <Chart label="Pressure" times={drawn.times} series={drawn.pressure} show={percent} max={0.1} />
          </Card>
        )}
        <Card title="Containers">
          <div className="scroll-x" role="region" aria-label="Table" tabIndex={0}>
            <table>
              <thead>
                <tr>
                  <th>Name</th>
                  <th className="numeric">Memory</th>
                  <th className="numeric">Page cache</th>
                  <th className="numeric">Processes</th>
                  <th className="numeric">OOM kills</th>
                </tr>
              </thead>
              <tbody>
                {last.containers.map((c) => (
                  <tr key={c.name}>
                    <td>{c.name}</td>
                    <td className="numeric">{bytes(c.memoryBytes)}</td>
                    <td className="numeric">{bytes(c.memoryCachedBytes)}</td>
                    <td className="numeric">{c.processes}</td>
                    <td className="numeric">{c.oomKills}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </Card>
        {filled.length > 0 && (
          <Card title="File systems">
            <div className="scroll-x" role="region" aria-label="Table" tabIndex={0}>
              <table>
                <thead>
                  <tr>
                    <th>Disk</th>
                    <th className="numeric">Used</th>
                    <th className="numeric">Capacity</th>
                    <th className="numeric">Full</th>
                  </tr>
                </thead>
                <tbody>
                  {filled.map((d) => (
                    <tr key={d.kind + d.name}>
                      <td>{d.kind === "scratch" ? "scratch disk" : `volume ${d.name}`}</td>
                      <td className="numeric">{bytes(d.usedBytes ?? 0)}</td>
                      <td className="numeric">{bytes(d.capacityBytes ?? 0)}</td>
                      <td className="numeric">{percent((d.usedBytes ?? 0) / (d.capacityBytes || 1))}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </Card>
        )}
      </div>
      <p className="hint">
        Metrics since this page was opened. For history, let Prometheus scrape <code>{location.origin}/v1/metrics</code> with an API key.
      </p>
    </>
  );
}

/** draw converts counters to rates. Each point is the mean since the previous sample. */
function draw(stats: Stats[]) {
  const pairs = stats.slice(1).map((s, i) => [stats[i] as Stats, s] as const);
  const rate = (of: (s: Stats) => number) =>
    pairs.map(([a, b]) => Math.max(0, of(b) - of(a)) / Math.max(0.001, (Date.parse(b.at) - Date.parse(a.at)) / 1000));
  const level = (of: (s: Stats) => number | undefined) => pairs.map(([, b]) => of(b) ?? null);
  const series = (name: string, values: (number | null)[]): Series => ({ name, values });
  const disks = (of: (d: Stats["disks"][number]) => number) => (s: Stats) => s.disks.reduce((sum, d) => sum + of(d), 0);
  return {
    times: pairs.map(([, b]) => Date.parse(b.at) / 1000),
    cpu: [
      series(
        "used, of one core",
        rate((s) => s.pod.cpuMicros / 1e6),
      ),
    ],
    memory: [
      series(
        "used",
        level((s) => s.pod.memoryTotalBytes - s.pod.memoryAvailableBytes),
      ),
      series(
        "cache",
        level((s) => s.pod.memoryCachedBytes),
      ),
    ],
    network: [
      series(
        "received",
        rate((s) => s.pod.rxBytes),
      ),
      series(
        "sent",
        rate((s) => s.pod.txBytes),
      ),
    ],
    disk: [series("read", rate(disks((d) => d.readBytes))), series("written", rate(disks((d) => d.writeBytes)))],
    pressure: [
      series(
        "CPU",
        level((s) => (s.pod.cpuPressurePercent ?? 0) / 100),
      ),
      series(
        "memory",
        level((s) => (s.pod.memoryPressurePercent ?? 0) / 100),
      ),
      series(
        "disks",
        level((s) => (s.pod.ioPressurePercent ?? 0) / 100),
      ),
    ],
  };
}
