// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useMemo, useState } from "react";
import { client, data, type Schemas } from "../api/client";
import { useKeys } from "../api/queries";
import { currentSession, useSession } from "../api/session";
import { useTenantNames } from "../api/useTenants";
import { bytes, dateTime, hours, money } from "../lib/format";
import { saveAs } from "../lib/saveAs";
import { Button } from "../ui/Button";
import { Card } from "../ui/Card";
import { Cards } from "../ui/Cards";
import { DataTable } from "../ui/DataTable";
import { Empty } from "../ui/Empty";
import { Facts } from "../ui/Facts";
import { Filters } from "../ui/Filters";
import { Hint } from "../ui/Hint";
import { Loading } from "../ui/Loading";
import { PageHead } from "../ui/PageHead";
import { Problem } from "../ui/Problem";
import type { Column } from "../ui/tableColumns";
import { toastError } from "../ui/toasts";

const Chart = lazy(() => import("../ui/Chart").then((m) => ({ default: m.Chart })));

type Item = Schemas["Usage"];

const DAY = 86_400_000;
const RANGES = { today: "Today", week: "Last 7 days", month: "This month", before: "Last month" } as const;
type Range = keyof typeof RANGES;

const GROUPS: [value: string, text: string][] = [
  ["object", "By pod and volume"],
  ["resource", "By kind"],
  ["volumeClass", "By volume class"],
  ["label", "By label"],
];

/** bounds returns the start of a range and its exclusive end, in UTC like the reporting intervals. */
function bounds(range: Range): { from: string; to?: string } {
  const now = new Date();
  const day = Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate());
  const month = (back: number) => new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back, 1)).toISOString();
  switch (range) {
    case "today":
      return { from: new Date(day).toISOString() };
    case "week":
      return { from: new Date(day - 6 * DAY).toISOString() };
    case "month":
      return { from: month(0) };
    case "before":
      return { from: month(1), to: month(0) };
  }
}

/** filled returns a bar for each interval, including those without usage. */
function filled(items: Item[], from: string, to: string | undefined, step: number) {
  const end = Math.ceil((to ? Date.parse(to) : Date.now()) / step) * step;
  const times = Array.from({ length: Math.max(1, (end - Date.parse(from)) / step) }, (_, i) => Date.parse(from) + i * step);
  const used = new Map(items.map((u) => [Date.parse(u.from), u.cpuCoreSeconds / 3600]));
  return {
    times: times.map((t) => t / 1000),
    values: times.map((t) => used.get(t) ?? 0),
    span: [Date.parse(from) / 1000, end / 1000] as [number, number],
  };
}

/** Usage shows the usage and cost of the tenant or, for operators, of all tenants. */
export function Usage() {
  const session = useSession();
  const keys = useKeys();
  const operator = session.kind === "operator";
  const tenants = useTenantNames();
  const [range, setRange] = useState<Range>("month");
  const [group, setGroup] = useState(operator ? "tenant" : "object");
  const [label, setLabel] = useState("app");
  const span = useMemo(() => bounds(range), [range]);
  const ask = (query: Record<string, string>) =>
    operator
      ? data(client.GET("/v1/admin/usage", { params: { query } }))
      : data(client.GET("/v1/usage", { params: { query: query as never } }));
  const period = range === "today" ? "hour" : "day";
  const over = useQuery({ queryKey: keys.usage(span, period), queryFn: () => ask({ ...span, period }), refetchInterval: 60_000 });
  const parts = { ...span, groupBy: group, ...(group === "label" ? { label } : {}) };
  const grouped = useQuery({
    queryKey: keys.usage(span, parts),
    queryFn: () => ask(parts),
    refetchInterval: 60_000,
    enabled: group !== "label" || label !== "",
  });
  const total = useQuery({ queryKey: keys.usage(span, "total"), queryFn: () => ask(span), refetchInterval: 60_000 });
  const currency = total.data?.currency;
  const columns = useMemo(
    (): Column<Item>[] => [
      {
        name: "Name",
        width: "minmax(100px, 2fr)",
        sort: (u) => u.name ?? tenants.get(u.key ?? "") ?? u.key ?? "",
        cell: (u) => <span title={u.key}>{u.name ?? tenants.get(u.key ?? "") ?? u.key ?? "none"}</span>,
      },
      { name: "Kind", width: "80px", wide: true, sort: (u) => u.kind ?? "", cell: (u) => u.kind },
      { name: "Core-hours", width: "100px", numeric: true, sort: (u) => u.cpuCoreSeconds, cell: (u) => hours(u.cpuCoreSeconds) },
      {
        name: "Memory GiB-h",
        width: "116px",
        numeric: true,
        wide: true,
        sort: (u) => u.memoryGiBSeconds,
        cell: (u) => hours(u.memoryGiBSeconds),
      },
      {
        name: "Volume GiB-h",
        width: "116px",
        numeric: true,
        wide: true,
        sort: (u) => u.volumeGiBSeconds,
        cell: (u) => hours(u.volumeGiBSeconds),
      },
      {
        name: "Network",
        width: "100px",
        numeric: true,
        wide: true,
        sort: (u) => u.networkReceivedBytes + u.networkSentBytes,
        cell: (u) => bytes(u.networkReceivedBytes + u.networkSentBytes),
      },
      ...(currency
        ? [{ name: "Cost", width: "96px", numeric: true, sort: (u: Item) => u.cost ?? 0, cell: (u: Item) => money(u.cost ?? 0, currency) }]
        : []),
    ],
    [currency, tenants],
  );
  const csv = async () => {
    const query = new URLSearchParams({ ...(parts as Record<string, string>), period: "day", format: "csv" });
    const answer = await fetch(`${operator ? "/v1/admin/usage" : "/v1/usage"}?${query}`, {
      headers: { Authorization: `Bearer ${currentSession()?.token}` },
    });
    if (!answer.ok) throw new Error(`the server returned status ${answer.status}`);
    saveAs(await answer.blob(), `usage-${span.from.slice(0, 10)}.csv`);
  };
  const sum = total.data?.items[0];
  const rows = grouped.data?.items ?? [];
  const bars = over.data && filled(over.data.items, span.from, span.to, period === "hour" ? DAY / 24 : DAY);
  return (
    <>
      <PageHead title="Usage" lead="Reserved resources count whether or not they are used. A closed hour never changes.">
        <select aria-label="Time range" value={range} onChange={(e) => setRange(e.target.value as Range)}>
          {Object.entries(RANGES).map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
        <Button icon="download" onClick={() => csv().catch((err) => toastError("The file was not downloaded", err))}>
          CSV
        </Button>
      </PageHead>
      <Problem
        error={total.error ?? over.error ?? grouped.error}
        retry={() => void Promise.all([total.refetch(), over.refetch(), grouped.refetch()])}
      />
      {!total.data && !total.error && <Loading />}
      {sum && (
        <Cards>
          <Card title="Total">
            {currency && sum.cost !== undefined && <p className="big number">{money(sum.cost, currency)}</p>}
            <Facts
              of={[
                ["Core-hours", hours(sum.cpuCoreSeconds)],
                ["Memory, GiB-hours", hours(sum.memoryGiBSeconds)],
                ["Volumes, GiB-hours", hours(sum.volumeGiBSeconds)],
                ["Scratch disks, GiB-hours", hours(sum.scratchGiBSeconds ?? 0)],
                ["Pod-hours", hours(sum.podSeconds)],
                ["Network", `${bytes(sum.networkReceivedBytes)} received, ${bytes(sum.networkSentBytes)} sent`],
                [
                  "Of that, outside",
                  `${bytes(sum.networkOutsideReceivedBytes ?? 0)} received, ${bytes(sum.networkOutsideSentBytes ?? 0)} sent`,
                ],
              ]}
            />
          </Card>
          <Card title={period === "hour" ? "Per hour" : "Per day"} grow>
            <Suspense fallback={<Loading />}>
              {bars && (
                <Chart
                  label="Core-hours"
                  bars
                  times={bars.times}
                  span={bars.span}
                  series={[{ name: "core-hours", values: bars.values }]}
                  show={(n) => hours(n * 3600)}
                />
              )}
            </Suspense>
          </Card>
        </Cards>
      )}
      <Filters>
        <select aria-label="Group by" value={group} onChange={(e) => setGroup(e.target.value)}>
          {(operator ? [["tenant", "By tenant"] as [string, string], ...GROUPS] : GROUPS).map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
        {group === "label" && <input aria-label="Label" placeholder="label" value={label} onChange={(e) => setLabel(e.target.value)} />}
        <Hint as="span">
          From {dateTime(span.from)}
          {span.to && ` to ${dateTime(span.to)}`}
        </Hint>
      </Filters>
      {grouped.data && rows.length === 0 && (
        <Empty title="No usage in this time range">
          <p>Pods count while their virtual machine runs. Volumes count from their creation until they are deleted.</p>
        </Empty>
      )}
      {rows.length > 0 && (
        <DataTable label="Usage" rows={rows} columns={columns} id={(u) => `${u.from}/${u.kind}/${u.key}`} sortedBy={["Core-hours", true]} />
      )}
    </>
  );
}
