// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { ApiError, client, data, type HuskEvent, type Volume } from "../../api/client";
import { useLive } from "../../api/live";
import { useKeys } from "../../api/queries";
import { useHasRole } from "../../api/role";
import { useVolumeClasses } from "../../api/useVolumeClasses";
import { whyNot } from "../../lib/allowed";
import { gibibytes } from "../../lib/format";
import { Badge } from "../../ui/Badge";
import { Button, buttonLook } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { Cards } from "../../ui/Cards";
import { Copy } from "../../ui/Copy";
import { Empty } from "../../ui/Empty";
import { EventList } from "../../ui/EventList";
import { Facts } from "../../ui/Facts";
import { Labels } from "../../ui/Labels";
import { Loading } from "../../ui/Loading";
import { Note } from "../../ui/Note";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { When } from "../../ui/When";
import { interval, ScheduleSnapshots, Snapshots } from "./Snapshots";
import { ChangeClass, DeleteVolume, GrowVolume } from "./Volumes";

/** VolumePage shows one volume with its pod and its events. */
export function VolumePage() {
  const { volumeId } = useParams({ from: "/app/volumes/$volumeId" });
  const keys = useKeys();
  const canChange = useHasRole("developer");
  const live = useLive<Volume>("volumes");
  const events = useLive<HuskEvent>("events", { objectId: volumeId });
  const [deleting, setDeleting] = useState(false);
  const [growing, setGrowing] = useState(false);
  const [scheduling, setScheduling] = useState(false);
  const [classing, setClassing] = useState(false);
  const classes = useVolumeClasses().data ?? [];
  const volume = live.items.find((v) => v.id === volumeId);
  const pod = useQuery({
    queryKey: keys.pod(volume?.podId),
    queryFn: () => data(client.GET("/v1/pods/{podId}", { params: { path: { podId: volume?.podId ?? "" } } })),
    enabled: !!volume?.podId,
  });
  if (!volume && !live.synced) return live.broken ? <Problem error={live.broken} /> : <Loading what="Loading the volume" />;
  if (!volume)
    return (
      <Empty title="Volume not found" action={<Link to="/volumes">All volumes</Link>}>
        <p>It may have been deleted, or it belongs to another tenant.</p>
      </Empty>
    );
  return (
    <>
      <PageHead
        title={
          <>
            {volume.name} <Badge state={volume.state} /> {volume.progressPercent !== undefined && `${volume.progressPercent} % copied`}
          </>
        }
        lead={<Labels labels={volume.labels} />}
      >
        {canChange && (
          <>
            {!volume.podId && (
              <Link to="/pods/new" search={{ volume: volume.id }} className={buttonLook()}>
                Create pod with this volume
              </Link>
            )}
            <Button unless={whyNot("volume", "grow", volume.state)} onClick={() => setGrowing(true)}>
              Make larger
            </Button>
            {classes.length > 0 && (
              <Button unless={whyNot("volume", "classify", volume.state)} onClick={() => setClassing(true)}>
                Change class
              </Button>
            )}
            <Button unless={whyNot("volume", "schedule", volume.state)} onClick={() => setScheduling(true)}>
              Schedule snapshots
            </Button>
            <Button icon="trash" look="danger" unless={whyNot("volume", "delete", volume.state)} onClick={() => setDeleting(true)}>
              Delete
            </Button>
          </>
        )}
      </PageHead>
      {volume.message && <Note>{volume.message}</Note>}
      <Cards two>
        <Card title="Details">
          <Facts
            of={[
              [
                "Snapshots",
                volume.snapshotSchedule ? (
                  <span key="schedule">
                    every {interval(volume.snapshotSchedule.everyMinutes)}, {volume.snapshotSchedule.keep} kept, next{" "}
                    {volume.nextSnapshotAt && <When at={volume.nextSnapshotAt} />}
                  </span>
                ) : (
                  "no schedule"
                ),
              ],
              ["Size", gibibytes(volume.sizeGiB)],
              ["Class", volume.class ?? "none: the limits of its pod"],
              ["File system", volume.fsType === "none" ? "none: a block device" : volume.fsType],
              ["Encrypted", volume.encrypted ? "yes, with a key of its own" : "no"],
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
              volume.encrypted
                ? ["Export", "not possible: copy the files in a pod"]
                : [
                    "Export",
                    <Copy key="export" text={`husk volume export ${volume.name} > ${volume.name}.rbd-diff`} label="the command" />,
                  ],
              ["Created", <When key="created" at={volume.createdAt} />],
              ["ID", <Copy key="id" text={volume.id} label="the ID" />],
            ]}
          />
        </Card>
        <Card title="Events">{events.synced ? <EventList events={[...events.items].reverse()} bare /> : <Loading />}</Card>
      </Cards>
      <Snapshots volume={volume} />
      {scheduling && <ScheduleSnapshots volume={volume} close={() => setScheduling(false)} />}
      {classing && <ChangeClass volume={volume} close={() => setClassing(false)} />}
      {growing && <GrowVolume volume={volume} close={() => setGrowing(false)} />}
      {deleting && <DeleteVolume volume={volume} close={() => setDeleting(false)} />}
    </>
  );
}
