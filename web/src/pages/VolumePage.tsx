import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { ApiError, client, data, type HuskEvent, type Volume } from "../api/client";
import { useLive } from "../api/live";
import { useMay } from "../api/role";
import { keyOf, useSession } from "../api/session";
import { gibibytes } from "../lib/format";
import { Badge } from "../ui/Badge";
import { Button } from "../ui/Button";
import { Problem } from "../ui/Problem";
import { Card, Copy, Empty, Facts, Labels, Loading, PageHead, When } from "../ui/parts";
import { EventList } from "./EventList";
import { DeleteVolume } from "./Volumes";

/** VolumePage is one volume: what it is, who has it, what happened to it. */
export function VolumePage() {
  const { volumeId } = useParams({ from: "/app/volumes/$volumeId" });
  const session = useSession();
  const mayChange = useMay("developer");
  const live = useLive<Volume>("volumes");
  const events = useLive<HuskEvent>("events", { objectId: volumeId });
  const [deleting, setDeleting] = useState(false);
  const volume = live.items.find((v) => v.id === volumeId);
  const pod = useQuery({
    queryKey: [keyOf(session), "pod", volume?.podId],
    queryFn: () => data(client.GET("/v1/pods/{podId}", { params: { path: { podId: volume?.podId ?? "" } } })),
    enabled: !!volume?.podId,
  });
  if (!volume && !live.synced) return live.broken ? <Problem error={live.broken} /> : <Loading what="Loading the volume" />;
  if (!volume)
    return (
      <Empty title="There is no such volume" action={<Link to="/volumes">All volumes</Link>}>
        <p>It may have been deleted, or it is another tenant's.</p>
      </Empty>
    );
  return (
    <>
      <PageHead
        title={
          <>
            {volume.name} <Badge state={volume.state} />
          </>
        }
        lead={<Labels labels={volume.labels} />}
      >
        {mayChange && (
          <>
            {!volume.podId && (
              <Link to="/pods/new" search={{ volume: volume.id }} className="button">
                Order a pod with it
              </Link>
            )}
            <Button icon="trash" look="danger" disabled={!!volume.podId || volume.state === "Deleting"} onClick={() => setDeleting(true)}>
              Delete
            </Button>
          </>
        )}
      </PageHead>
      {volume.message && <p className="note">{volume.message}</p>}
      <div className="cards two">
        <Card title="The volume">
          <Facts
            of={[
              ["Size", gibibytes(volume.sizeGiB)],
              [
                "Attached to",
                volume.podId && !(pod.error instanceof ApiError) ? (
                  <Link key="pod" to="/pods/$podId" params={{ podId: volume.podId }}>
                    {pod.data?.name ?? volume.podId.slice(0, 8)}
                  </Link>
                ) : (
                  "no pod"
                ),
              ],
              ["Created", <When key="created" at={volume.createdAt} />],
              ["Id", <Copy key="id" text={volume.id} label="the id" />],
            ]}
          />
        </Card>
        <Card title="Events">{events.synced ? <EventList events={[...events.items].reverse()} bare /> : <Loading />}</Card>
      </div>
      {deleting && <DeleteVolume volume={volume} close={() => setDeleting(false)} />}
    </>
  );
}
