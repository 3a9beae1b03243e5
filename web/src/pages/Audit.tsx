// SPDX-License-Identifier: Apache-2.0

import { useInfiniteQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { client, data, type Pod, type Schemas, type Volume } from "../api/client";
import { useLive } from "../api/live";
import { useKeys } from "../api/queries";
import { useSession } from "../api/session";
import { useTenantNames } from "../api/useTenants";
import { localTime, zone } from "../lib/format";
import { saveAs } from "../lib/saveAs";
import { Button } from "../ui/Button";
import { Copy } from "../ui/Copy";
import { DataTable } from "../ui/DataTable";
import { Empty } from "../ui/Empty";
import { ObjectLink } from "../ui/EventList";
import { Filters } from "../ui/Filters";
import { InlineLabel } from "../ui/InlineLabel";
import { Loading } from "../ui/Loading";
import { PageHead } from "../ui/PageHead";
import { Problem } from "../ui/Problem";
import type { Column } from "../ui/tableColumns";
import { toastError } from "../ui/toasts";

type Entry = Schemas["AuditEntry"];

const PAGE = 200;
const EXPORTED = 50_000; // entries in a file, at most

interface Filter {
  from: string; // of an input for dates with times
  to: string;
  operation: string;
  actor: string;
  tenant: string; // ID
}

const ALL: Filter = { from: "", to: "", operation: "", actor: "", tenant: "" };

const asQuery = (f: Filter) => ({
  ...(f.from ? { from: new Date(f.from).toISOString() } : {}),
  ...(f.to ? { to: new Date(f.to).toISOString() } : {}),
  ...(f.operation ? { operation: f.operation.trim() } : {}),
  ...(f.actor ? { actor: f.actor.trim() } : {}),
});

/** read returns one page of the audit log. */
const read = (operator: boolean, f: Filter, limit: number, cursor?: string) => {
  const query = { limit, ...asQuery(f), ...(cursor ? { cursor } : {}) };
  return operator
    ? data(client.GET("/v1/admin/audit", { params: { query: { ...query, ...(f.tenant ? { tenantId: f.tenant } : {}) } } }))
    : data(client.GET("/v1/audit", { params: { query } }));
};

const cell = (v: string) => (/[",\n]/.test(v) ? `"${v.replaceAll('"', '""')}"` : v);

/** toCSV writes entries as comma-separated values (RFC 4180). Text that a spreadsheet would take for a formula begins with a quote. */
function toCSV(entries: Entry[], tenants: Map<string, string>): string {
  const plain = (v: string) => cell(/^[=+\-@\t]/.test(v) ? `'${v}` : v);
  const lines = entries.map((e) =>
    [
      e.at,
      e.tenantId ? (tenants.get(e.tenantId) ?? e.tenantId) : "",
      e.actorKind,
      e.actorName,
      e.actorId,
      e.address ?? "",
      e.operation,
      e.objectKind ?? "",
      e.objectId ?? "",
      e.detail ?? "",
      e.requestId,
    ]
      .map(plain)
      .join(","),
  );
  return `at,tenant,actorKind,actorName,actorId,address,operation,objectKind,objectId,detail,requestId\n${lines.join("\n")}\n`;
}

/** Audit shows the audit log of the tenant or, for operators, of all tenants. Newest entries come first. */
export function Audit() {
  const session = useSession();
  return session.kind === "operator" ? <OperatorsAudit /> : <TenantsAudit />;
}

function OperatorsAudit() {
  return <Log operator names={new Map()} tenants={useTenantNames()} />;
}

function TenantsAudit() {
  const pods = useLive<Pod>("pods").items;
  const volumes = useLive<Volume>("volumes").items;
  const names = useMemo(() => new Map([...pods, ...volumes].map((o) => [o.id, o.name])), [pods, volumes]);
  return <Log names={names} tenants={new Map()} />;
}

/** Log shows the entries, with the names of objects and tenants that exist. */
function Log({ operator = false, names, tenants }: { operator?: boolean; names: Map<string, string>; tenants: Map<string, string> }) {
  const keys = useKeys();
  const [filter, setFilter] = useState(ALL);
  const change = (part: Partial<Filter>) => setFilter({ ...filter, ...part });
  const log = useInfiniteQuery({
    queryKey: keys.audit(filter),
    queryFn: ({ pageParam }) => read(operator, filter, PAGE, pageParam),
    initialPageParam: "",
    getNextPageParam: (last) => last.nextCursor,
    placeholderData: (before) => before,
  });
  const rows = useMemo(() => log.data?.pages.flatMap((p) => p.items) ?? [], [log.data]);
  const columns = useMemo(
    (): Column<Entry>[] => [
      { name: `Time (${zone()})`, width: "190px", cell: (e) => <time dateTime={e.at}>{localTime(e.at)}</time> },
      ...(operator
        ? [
            {
              name: "Tenant",
              width: "minmax(90px, 1fr)",
              cell: (e: Entry) => e.tenantId && <span title={e.tenantId}>{tenants.get(e.tenantId) ?? e.tenantId.slice(0, 8)}</span>,
            },
          ]
        : []),
      {
        name: "Actor",
        width: "minmax(80px, 1fr)",
        cell: (e) => <span title={`${e.actorKind} ${e.actorId}${e.address ? ` from ${e.address}` : ""}`}>{e.actorName}</span>,
      },
      { name: "Operation", width: "minmax(110px, 1.2fr)", cell: (e) => <code>{e.operation}</code> },
      {
        name: "Object",
        width: "minmax(0, 1.2fr)",
        cell: (e) => {
          if (!e.objectId) return "";
          if (operator) return (e.objectKind === "tenant" && tenants.get(e.objectId)) || `${e.objectKind} ${e.objectId.slice(0, 8)}`;
          return <ObjectLink kind={e.objectKind ?? ""} id={e.objectId} name={names.get(e.objectId)} />;
        },
      },
      { name: "Detail", width: "minmax(0, 1.6fr)", wide: true, cell: (e) => e.detail },
      {
        name: "Request",
        width: "120px",
        wide: true,
        cell: (e) => <Copy text={e.requestId} shown={e.requestId.slice(0, 8)} label="the request ID" />,
      },
    ],
    [operator, names, tenants],
  );
  const csv = async () => {
    const all: Entry[] = [];
    let cursor: string | undefined;
    do {
      const page = await read(operator, filter, 1000, cursor);
      all.push(...page.items);
      cursor = page.nextCursor;
    } while (cursor && all.length < EXPORTED);
    saveAs(new Blob([toCSV(all, tenants)], { type: "text/csv" }), `audit-${new Date().toISOString().slice(0, 10)}.csv`);
  };
  const filtered = filter !== ALL && JSON.stringify(filter) !== JSON.stringify(ALL);
  return (
    <>
      <PageHead title="Audit log" lead={operator ? "Changes in all tenants." : "Changes in this tenant, and sessions with its pods."}>
        <Button icon="download" onClick={() => csv().catch((err) => toastError("The file was not downloaded", err))}>
          CSV
        </Button>
      </PageHead>
      <Filters>
        <InlineLabel>
          From <input type="datetime-local" value={filter.from} onChange={(e) => change({ from: e.target.value })} />
        </InlineLabel>
        <InlineLabel>
          To <input type="datetime-local" value={filter.to} onChange={(e) => change({ to: e.target.value })} />
        </InlineLabel>
        <input
          type="search"
          aria-label="Actor's name or ID"
          placeholder="Actor"
          value={filter.actor}
          onChange={(e) => change({ actor: e.target.value })}
        />
        <input
          type="search"
          aria-label="Operation"
          placeholder="Operation, such as createPod"
          value={filter.operation}
          onChange={(e) => change({ operation: e.target.value })}
        />
        {operator && (
          <select aria-label="Tenant" value={filter.tenant} onChange={(e) => change({ tenant: e.target.value })}>
            <option value="">All tenants</option>
            {[...tenants]
              .sort((a, b) => a[1].localeCompare(b[1], "en"))
              .map(([id, name]) => (
                <option key={id} value={id}>
                  {name}
                </option>
              ))}
          </select>
        )}
        {filtered && (
          <Button small onClick={() => setFilter(ALL)}>
            Clear
          </Button>
        )}
        {log.hasNextPage && (
          <Button small busy={log.isFetchingNextPage} onClick={() => void log.fetchNextPage()}>
            Load older entries
          </Button>
        )}
      </Filters>
      <Problem error={log.error} retry={() => void log.refetch()} />
      {log.isPending && !log.error && <Loading />}
      {log.data && rows.length === 0 && <Empty title={filtered ? "No entries match" : "No entries yet"} />}
      {rows.length > 0 && <DataTable label="Audit log" rows={rows} columns={columns} id={(e) => e.id} />}
    </>
  );
}
