// SPDX-License-Identifier: Apache-2.0

import { Link } from "@tanstack/react-router";
import type { HuskEvent, Pod } from "../api/client";
import { Badge } from "./Badge";
import styles from "./EventList.module.css";
import { Rows } from "./Rows";
import { When } from "./When";

/** EventList shows events with links to their objects. */
export function EventList({ events, pods = [], bare }: { events: HuskEvent[]; pods?: Pod[]; bare?: boolean }) {
  if (events.length === 0) return <p className="muted">No events in the last 14 days.</p>;
  return (
    <Rows className={styles.events}>
      {events.map((e) => (
        <li key={e.id}>
          <When at={e.at} />
          <Badge state={e.reason} />
          {!bare && <ObjectLink kind={e.kind} id={e.objectId} name={pods.find((p) => p.id === e.objectId)?.name} />}
          <span className="muted">{e.message}</span>
        </li>
      ))}
    </Rows>
  );
}

/** ObjectLink links to an object's page if its kind has one. */
export function ObjectLink({ kind, id, name }: { kind: string; id: string; name?: string }) {
  const shown = name ?? `${kind} ${id.slice(0, 8)}`;
  if (kind === "pod")
    return (
      <Link to="/pods/$podId" params={{ podId: id }}>
        {shown}
      </Link>
    );
  if (kind === "volume")
    return (
      <Link to="/volumes/$volumeId" params={{ volumeId: id }}>
        {shown}
      </Link>
    );
  if (kind === "image")
    return (
      <Link to="/images/$imageId" params={{ imageId: id }}>
        {shown}
      </Link>
    );
  return <span>{shown}</span>;
}
