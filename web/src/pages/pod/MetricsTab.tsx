// SPDX-License-Identifier: Apache-2.0

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { client, data, type Pod, type Schemas } from "../../api/client";
import { useKeys } from "../../api/queries";
import { bytes, percent, perSecond } from "../../lib/format";
import { fromHistory, fromSamples, joined, type Point } from "../../lib/usage";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { Cards } from "../../ui/Cards";
import { Chart, type Series } from "../../ui/Chart";
import { Empty } from "../../ui/Empty";
import { Hint } from "../../ui/Hint";
import { Loading } from "../../ui/Loading";
import { Presets } from "../../ui/Presets";
import { Problem } from "../../ui/Problem";
import { ScrollX } from "../../ui/ScrollX";

type Stats = Schemas["PodStats"];

const EVERY = 2_000; // milliseconds between two samples
const KEPT = 900; // samples, for half an hour

const RANGES = [
  ["Now", 0],
  ["Hour", 3600],
  ["Day", 86_400],
] as const; // seconds of history

/** MetricsTab draws the pod's usage: what its node has recorded, and then samples of the kernel inside it. */
export default function MetricsTab({ pod }: { pod: Pod }) {
  const keys = useKeys();
  const queries = useQueryClient();
  const [range, setRange] = useState<number>(3600);
  const key = keys.stats(pod.id);
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
  const history = useQuery({
    queryKey: keys.statsHistory(pod.id),
    queryFn: () => data(client.GET("/v1/pods/{podId}/stats/history", { params: { path: { podId: pod.id } } })),
    refetchInterval: 60_000,
    retry: false,
  });
  const recorded = history.data?.points;
  const drawn = useMemo(() => {
    const since = Date.now() / 1000 - range;
    return draw(
      joined(
        fromHistory(recorded ?? []).filter((p) => p.time > since),
        fromSamples(q.data ?? []),
      ),
    );
  }, [recorded, q.data, range]);
  if (!running && history.isPending) return <Loading what="Loading the metrics" />;
  if (!running && !q.data && !recorded?.length)
    return (
      <Empty title="The pod is not running">
        <p>Metrics come from the kernel inside a running pod. This pod is {pod.status.phase}.</p>
      </Empty>
    );
  const last = q.data?.at(-1);
  if (q.error && !last && !recorded?.length) return <Problem error={q.error} retry={() => void q.refetch()} />;
  if (!last && !recorded?.length) return <Loading what="Loading the metrics" />;
  const filled = (last?.disks ?? []).filter((d) => d.usedBytes !== undefined && d.capacityBytes !== undefined);
  return (
    <>
      {q.error && <Problem error={q.error} title="These metrics are not up to date." />}
      <Presets role="group" aria-label="Time">
        {RANGES.map(([name, seconds]) => (
          <Button key={name} small aria-pressed={range === seconds} onClick={() => setRange(seconds)}>
            {name}
          </Button>
        ))}
      </Presets>
      <Cards two>
        <Card title="CPU">
          <Chart label="CPU" times={drawn.times} series={drawn.cpu} show={percent} limit={pod.spec.resources.cpuMillis / 1000} />
        </Card>
        <Card title="Memory">
          <Chart
            label="Memory"
            times={drawn.times}
            series={drawn.memory}
            show={bytes}
            binary
            limit={pod.spec.resources.memoryMiB * 2 ** 20}
          />
        </Card>
        <Card title="Network">
          <Chart label="Network" times={drawn.times} series={drawn.network} show={perSecond} binary max={1024} />
        </Card>
        <Card title="Disks">
          <Chart label="Disks" times={drawn.times} series={drawn.disk} show={perSecond} binary max={1024} />
        </Card>
        {drawn.pressure.some((s) => s.values.some((v) => v !== null)) && (
          <Card title="Pressure">
            <Chart label="Pressure" times={drawn.times} series={drawn.pressure} show={percent} max={0.1} />
          </Card>
        )}
        {last && (
          <Card title="Containers">
            <ScrollX label="Table">
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
            </ScrollX>
          </Card>
        )}
        {filled.length > 0 && (
          <Card title="File systems">
            <ScrollX label="Table">
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
            </ScrollX>
          </Card>
        )}
      </Cards>
      <Hint>
        {history.error
          ? "The history cannot be read. "
          : "The pod's node keeps a day: a point a minute. A dashed line is what the pod may use. "}
        For longer, let Prometheus scrape <code>{location.origin}/v1/metrics</code> with an API key.
      </Hint>
    </>
  );
}

/** draw makes the series of the charts. */
function draw(points: Point[]) {
  const series = (name: string, of: (p: Point) => number | null): Series => ({ name, values: points.map(of) });
  return {
    times: points.map((p) => p.time),
    cpu: [series("used, of one core", (p) => p.cpu)],
    memory: [series("used", (p) => p.used), series("cache", (p) => p.cache)],
    network: [series("received", (p) => p.received), series("sent", (p) => p.sent)],
    disk: [series("read", (p) => p.read), series("written", (p) => p.written)],
    pressure: [series("CPU", (p) => p.cpuPressure), series("memory", (p) => p.memoryPressure), series("disks", (p) => p.diskPressure)],
  };
}
