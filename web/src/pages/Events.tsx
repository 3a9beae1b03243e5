// SPDX-License-Identifier: Apache-2.0

import { useMemo, useState } from "react";
import type { HuskEvent, Pod } from "../api/client";
import { useLive } from "../api/live";
import { localTime, zone } from "../lib/format";
import { Badge } from "../ui/Badge";
import { DataTable } from "../ui/DataTable";
import { Empty } from "../ui/Empty";
import { ObjectLink } from "../ui/EventList";
import { Filters } from "../ui/Filters";
import { Loading } from "../ui/Loading";
import { PageHead } from "../ui/PageHead";
import { Problem } from "../ui/Problem";
import type { Column } from "../ui/tableColumns";

/** Events lists the events of the last 14 days, newest first. */
export function Events() {
  const events = useLive<HuskEvent>("events");
  const pods = useLive<Pod>("pods").items;
  const [q, setQ] = useState("");
  const [kind, setKind] = useState("");
  const rows = useMemo(
    () =>
      events.items
        .filter(
          (e) =>
            (!kind || e.kind === kind) &&
            (!q || e.objectId === q || `${e.reason} ${e.message ?? ""}`.toLowerCase().includes(q.toLowerCase())),
        )
        .reverse(),
    [events.items, q, kind],
  );
  const columns = useMemo((): Column<HuskEvent>[] => {
    const names = new Map(pods.map((p) => [p.id, p.name]));
    return [
      { name: `Time (${zone()})`, width: "190px", sort: (e) => e.at, cell: (e) => <time dateTime={e.at}>{localTime(e.at)}</time> },
      {
        name: "Object",
        width: "minmax(90px, 1fr)",
        cell: (e) => <ObjectLink kind={e.kind} id={e.objectId} name={names.get(e.objectId)} />,
      },
      { name: "Event", width: "minmax(0, 1fr)", sort: (e) => e.reason, cell: (e) => <Badge state={e.reason} title={e.message} /> },
      { name: "Message", width: "minmax(0, 3fr)", wide: true, cell: (e) => <span title={e.message}>{e.message}</span> },
    ];
  }, [pods]);
  return (
    <>
      <PageHead title="Events" lead="Events of the last 14 days." />
      {events.broken && <Problem error={events.broken} title="This list is not up to date." />}
      {!events.synced && !events.broken && <Loading />}
      {events.synced && events.items.length === 0 && (
        <Empty title="No events yet">
          <p>Events appear here when pods start or stop, images are imported, or volumes are created.</p>
        </Empty>
      )}
      {events.items.length > 0 && (
        <>
          <Filters>
            <input
              type="search"
              aria-label="Filter by event, message or object ID"
              placeholder="Event, message or object ID"
              value={q}
              onChange={(e) => setQ(e.target.value)}
            />
            <select aria-label="Filter by kind" value={kind} onChange={(e) => setKind(e.target.value)}>
              <option value="">Any kind</option>
              <option value="pod">Pods</option>
              <option value="volume">Volumes</option>
              <option value="image">Images</option>
            </select>
          </Filters>
          {rows.length === 0 ? (
            <Empty title="No events match" />
          ) : (
            <DataTable label="Events" rows={rows} columns={columns} id={(e) => e.id} />
          )}
        </>
      )}
    </>
  );
}
