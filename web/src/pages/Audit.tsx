// SPDX-License-Identifier: Apache-2.0

import { useInfiniteQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { client, data, type Schemas } from "../api/client";
import { keyOf, useSession } from "../api/session";
import { localTime, zone } from "../lib/format";
import { Button } from "../ui/Button";
import { type Column, DataTable } from "../ui/DataTable";
import { Problem } from "../ui/Problem";
import { Copy, Empty, Loading, PageHead } from "../ui/parts";
import { ObjectLink } from "./EventList";

type Entry = Schemas["AuditEntry"];

const PAGE = 200;

/** Audit shows the audit log of the tenant or, for operators, of all tenants. Newest entries come first. */
export function Audit() {
  const session = useSession();
  const operator = session.kind === "operator";
  const [q, setQ] = useState("");
  const log = useInfiniteQuery({
    queryKey: [keyOf(session), "audit"],
    queryFn: ({ pageParam }) => {
      const query = { limit: PAGE, ...(pageParam ? { cursor: pageParam } : {}) };
      return operator ? data(client.GET("/v1/admin/audit", { params: { query } })) : data(client.GET("/v1/audit", { params: { query } }));
    },
    initialPageParam: "",
    getNextPageParam: (last) => last.nextCursor,
  });
  const all = useMemo(() => log.data?.pages.flatMap((p) => p.items) ?? [], [log.data]);
  const rows = useMemo(() => all.filter((e) => JSON.stringify(e).toLowerCase().includes(q.toLowerCase())), [all, q]);
  const columns = useMemo(
    (): Column<Entry>[] => [
      { name: `Time (${zone()})`, width: "190px", cell: (e) => <time dateTime={e.at}>{localTime(e.at)}</time> },
      {
        name: "Actor",
        width: "minmax(80px, 1fr)",
        cell: (e) => <span title={`${e.actorKind} ${e.actorId}${e.address ? ` from ${e.address}` : ""}`}>{e.actorName}</span>,
      },
      { name: "Operation", width: "minmax(90px, 1fr)", cell: (e) => <code>{e.operation}</code> },
      {
        name: "Object",
        width: "minmax(0, 1.2fr)",
        wide: true,
        cell: (e) =>
          e.objectId && (operator ? `${e.objectKind} ${e.objectId.slice(0, 8)}` : <ObjectLink kind={e.objectKind ?? ""} id={e.objectId} />),
      },
      { name: "Detail", width: "minmax(0, 1.6fr)", wide: true, cell: (e) => <span title={e.detail}>{e.detail}</span> },
      {
        name: "Request",
        width: "120px",
        wide: true,
        cell: (e) => <Copy text={e.requestId} shown={e.requestId.slice(0, 8)} label="the request ID" />,
      },
    ],
    [operator],
  );
  return (
    <>
      <PageHead title="Audit log" lead={operator ? "Changes in all tenants." : "Changes in this tenant, and sessions with its pods."} />
      <Problem error={log.error} retry={() => void log.refetch()} />
      {log.isPending && !log.error && <Loading />}
      {log.data && all.length === 0 && <Empty title="No entries yet" />}
      {all.length > 0 && (
        <>
          <div className="filters">
            <input
              type="search"
              aria-label="Filter the loaded entries"
              placeholder="Filter the loaded entries"
              value={q}
              onChange={(e) => setQ(e.target.value)}
            />
            {log.hasNextPage && (
              <Button small busy={log.isFetchingNextPage} onClick={() => void log.fetchNextPage()}>
                Load older entries
              </Button>
            )}
          </div>
          {rows.length === 0 ? (
            <Empty title="No entries match" />
          ) : (
            <DataTable label="Audit log" rows={rows} columns={columns} id={(e) => e.id} />
          )}
        </>
      )}
    </>
  );
}
