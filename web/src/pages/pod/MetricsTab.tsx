import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { client, data, type Pod, type Schemas } from "../../api/client";
import { keyOf, useSession } from "../../api/session";
import { bytes, percent, perSecond } from "../../lib/format";
import { Chart, type Series } from "../../ui/Chart";
import { Problem } from "../../ui/Problem";
import { Card, Empty, Loading } from "../../ui/parts";

type Stats = Schemas["PodStats"];

const EVERY = 2_000; // milliseconds between two readings
const KEPT = 900; // readings, half an hour of them

/** MetricsTab draws what the pod uses, as the kernel in it counts, from when this page was opened. What was before, Prometheus knows. */
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
      <Empty title="The pod does not run">
        <p>What it uses is counted by its own kernel, while it is Running; it is {pod.status.phase}.</p>
      </Empty>
    );
  const last = q.data?.at(-1);
  if (q.error && !last) return <Problem error={q.error} retry={() => void q.refetch()} />;
  if (!last) return <Loading what="Asking the pod" />;
  return (
    <>
      {q.error && <Problem error={q.error} title="These figures are not up to date." />}
      <div className="cards two">
        <Card title="Processors">
          <Chart label="Processors" times={drawn.times} series={drawn.cpu} show={percent} max={0.1} />
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
                  <th className="numeric">of it cache</th>
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
      </div>
      <p className="hint">
        From when this page was opened. Prometheus keeps what was before: it scrapes <code>{location.origin}/v1/metrics</code> with your
        token.
      </p>
    </>
  );
}

/** draw makes rates of counters: each point is the mean since the one before. */
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
        "used of one core",
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
        "processors",
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
