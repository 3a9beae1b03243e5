// SPDX-License-Identifier: Apache-2.0

import type { HuskEvent, Pod } from "../../api/client";
import { useLive } from "../../api/live";
import { EventList } from "../../ui/EventList";
import { Loading } from "../../ui/Loading";
import { Problem } from "../../ui/Problem";

export function PodEvents({ pod }: { pod: Pod }) {
  const events = useLive<HuskEvent>("events", { objectId: pod.id });
  return (
    <>
      {events.broken && <Problem error={events.broken} />}
      {events.synced ? <EventList events={[...events.items].reverse()} bare /> : <Loading />}
    </>
  );
}
