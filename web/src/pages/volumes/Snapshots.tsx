// SPDX-License-Identifier: Apache-2.0

import { useMemo, useState } from "react";
import { client, idempotent, type Snapshot, type Volume } from "../../api/client";
import { useLive } from "../../api/live";
import { useHasRole } from "../../api/role";
import { whyNot } from "../../lib/allowed";
import { gibibytes } from "../../lib/format";
import { Badge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { Check } from "../../ui/Check";
import { DataTable } from "../../ui/DataTable";
import { FormDialog } from "../../ui/Dialog";
import { Input, NAME, Select } from "../../ui/Field";
import type { Column } from "../../ui/tableColumns";
import { toast, toastError } from "../../ui/toasts";
import { When } from "../../ui/When";
import { download } from "./transfer";

type Doing = { what: "create" } | { what: "clone" | "restore" | "delete"; snapshot: Snapshot };

/** Snapshots lists the snapshots of a volume, or those of all volumes. */
export function Snapshots({ volume }: { volume?: Volume }) {
  const canChange = useHasRole("developer");
  const live = useLive<Snapshot>("snapshots");
  const [doing, setDoing] = useState<Doing>();
  const shown = useMemo(() => live.items.filter((s) => !volume || s.volumeId === volume.id), [live.items, volume]);
  const columns = useMemo(
    (): Column<Snapshot>[] => [
      {
        name: "Name",
        width: "minmax(110px, 1.4fr)",
        sort: (s) => s.name,
        cell: (s) => (
          <>
            <span className="strong">{s.name}</span> {s.scheduled && <span className="muted">scheduled</span>}
          </>
        ),
      },
      {
        name: "State",
        width: "132px",
        sort: (s) => s.state,
        cell: (s) => (
          <>
            <Badge state={s.state} title={s.message} /> {s.state === "Creating" && `${s.progressPercent} %`}
          </>
        ),
      },
      ...(volume ? [] : [{ name: "Volume", width: "minmax(0, 1fr)", wide: true, cell: (s: Snapshot) => s.volumeName }]),
      { name: "Size", width: "86px", sort: (s) => s.sizeGiB, cell: (s) => gibibytes(s.sizeGiB), numeric: true },
      {
        name: "Taken",
        width: "92px",
        wide: true,
        sort: (s) => -Date.parse(s.createdAt),
        cell: (s) => <When at={s.takenAt ?? s.createdAt} />,
      },
      ...(canChange
        ? [
            {
              name: "Actions",
              width: "262px",
              cell: (s: Snapshot) => (
                <>
                  <Button
                    small
                    look="quiet"
                    unless={whyNot("snapshot", "clone", s.state)}
                    onClick={() => setDoing({ what: "clone", snapshot: s })}
                  >
                    New volume
                  </Button>
                  {volume && (
                    <Button
                      small
                      look="quiet"
                      unless={whyNot("snapshot", "restore", s.state) ?? whyNot("volume", "restore", volume.state)}
                      onClick={() => setDoing({ what: "restore", snapshot: s })}
                    >
                      Restore
                    </Button>
                  )}
                  <Button
                    small
                    look="quiet"
                    icon="download"
                    aria-label={`Download snapshot ${s.name}`}
                    unless={
                      s.encrypted ? "It is encrypted, and the server does not read what is in it." : whyNot("snapshot", "download", s.state)
                    }
                    onClick={() => void save(s)}
                  />
                  <Button
                    small
                    look="quiet"
                    icon="trash"
                    aria-label={`Delete snapshot ${s.name}`}
                    unless={whyNot("snapshot", "delete", s.state)}
                    onClick={() => setDoing({ what: "delete", snapshot: s })}
                  />
                </>
              ),
            },
          ]
        : []),
    ],
    [canChange, volume],
  );
  const close = () => setDoing(undefined);
  if (!volume && shown.length === 0) return null;
  return (
    <Card
      title="Snapshots"
      actions={
        canChange &&
        volume && (
          <Button small unless={whyNot("volume", "snapshot", volume.state)} onClick={() => setDoing({ what: "create" })}>
            Create a snapshot
          </Button>
        )
      }
    >
      {shown.length === 0 ? (
        <p>A snapshot keeps the content that the volume has at one moment, also while a pod uses it.</p>
      ) : (
        <DataTable label="Snapshots" rows={shown} columns={columns} id={(s) => s.id} sortedBy={["Taken", false]} />
      )}
      {doing?.what === "create" && volume && <CreateSnapshot volume={volume} close={close} />}
      {doing?.what === "clone" && <CloneSnapshot snapshot={doing.snapshot} close={close} />}
      {doing?.what === "restore" && volume && <RestoreVolume volume={volume} snapshot={doing.snapshot} close={close} />}
      {doing?.what === "delete" && <DeleteSnapshot snapshot={doing.snapshot} close={close} />}
    </Card>
  );
}

/** save downloads a snapshot, unless the person does not choose a file. */
async function save(s: Snapshot) {
  try {
    await download(s);
    toast(`Snapshot ${s.name} is downloaded.`);
  } catch (err) {
    if (!(err instanceof DOMException && err.name === "AbortError")) toastError("The snapshot was not downloaded", err);
  }
}

function CreateSnapshot({ volume, close }: { volume: Volume; close: () => void }) {
  const [name, setName] = useState("");
  const [consistent, setConsistent] = useState(false);
  const [key] = useState(idempotent);
  const run = async () => {
    await client.POST("/v1/snapshots", { params: { header: key }, body: { name, volumeId: volume.id, consistent } });
    toast(`Snapshot ${name} is being created.`);
  };
  return (
    <FormDialog title={`Create a snapshot of ${volume.name}`} submit="Create snapshot" close={close} run={run}>
      <Input label="Name" field="name" value={name} onChange={setName} pattern={NAME} maxLength={63} required autoFocus />
      {volume.fsType !== "none" && <Check label="Freeze the file system for that moment" checked={consistent} onChange={setConsistent} />}
    </FormDialog>
  );
}

function CloneSnapshot({ snapshot, close }: { snapshot: Snapshot; close: () => void }) {
  const [name, setName] = useState("");
  const [flatten, setFlatten] = useState(false);
  const [key] = useState(idempotent);
  const run = async () => {
    const body = { name, sizeGiB: snapshot.sizeGiB, source: { snapshotId: snapshot.id }, flatten };
    await client.POST("/v1/volumes", { params: { header: key }, body });
    toast(`Volume ${name} is being created.`);
  };
  return (
    <FormDialog title={`Create a volume from snapshot ${snapshot.name}`} submit="Create volume" close={close} run={run}>
      <Input label="Name" field="name" value={name} onChange={setName} pattern={NAME} maxLength={63} required autoFocus />
      <Check label="Copy all data, so that it is independent of the snapshot" checked={flatten} onChange={setFlatten} />
    </FormDialog>
  );
}

function RestoreVolume({ volume, snapshot, close }: { volume: Volume; snapshot: Snapshot; close: () => void }) {
  const [typed, setTyped] = useState("");
  const [key] = useState(idempotent);
  const run = async () => {
    const params = { path: { volumeId: volume.id }, header: key };
    await client.POST("/v1/volumes/{volumeId}/restore", { params, body: { snapshotId: snapshot.id } });
    toast(`Volume ${volume.name} is being restored.`);
  };
  return (
    <FormDialog title={`Restore ${volume.name} from ${snapshot.name}?`} submit="Restore" danger close={close} run={run}>
      <p>The volume gets the content of the snapshot. What it has now is deleted, which cannot be undone.</p>
      <Input label="Type the volume's name" value={typed} onChange={setTyped} pattern={volume.name} required autoFocus />
    </FormDialog>
  );
}

function DeleteSnapshot({ snapshot, close }: { snapshot: Snapshot; close: () => void }) {
  const run = async () => {
    await client.DELETE("/v1/snapshots/{snapshotId}", { params: { path: { snapshotId: snapshot.id } } });
    toast(`Snapshot ${snapshot.name} is being deleted.`);
  };
  return (
    <FormDialog title={`Delete snapshot ${snapshot.name}?`} submit="Delete snapshot" danger close={close} run={run}>
      <p>The volume {snapshot.volumeName} is not affected.</p>
    </FormDialog>
  );
}

const INTERVALS: [string, string][] = [
  ["0", "no schedule"],
  ["60", "1 hour"],
  ["360", "6 hours"],
  ["1440", "1 day"],
  ["10080", "1 week"],
];

/** interval says how long so many minutes are. */
export function interval(minutes: number) {
  return INTERVALS.find(([m]) => m === String(minutes))?.[1] ?? `${minutes} minutes`;
}

/** ScheduleSnapshots changes the schedule of a volume's snapshots. */
export function ScheduleSnapshots({ volume, close }: { volume: Volume; close: () => void }) {
  const now = volume.snapshotSchedule;
  const [every, setEvery] = useState(String(now?.everyMinutes ?? 1440));
  const [keep, setKeep] = useState(String(now?.keep ?? 7));
  const options = INTERVALS.some(([m]) => m === every) ? INTERVALS : [...INTERVALS, [every, interval(Number(every))] as [string, string]];
  const run = async () => {
    const body = { snapshotSchedule: { everyMinutes: Number(every), keep: Number(keep) } };
    await client.PATCH("/v1/volumes/{volumeId}", { params: { path: { volumeId: volume.id } }, body });
    toast(
      every === "0" ? `Volume ${volume.name} has no schedule.` : `Volume ${volume.name} gets a snapshot every ${interval(Number(every))}.`,
    );
  };
  return (
    <FormDialog title={`Schedule snapshots of ${volume.name}`} submit="Save" close={close} run={run}>
      <p>When a new snapshot is ready, older ones of the schedule are deleted. Snapshots that you create yourself are not affected.</p>
      <Select label="Interval" value={every} onChange={setEvery} options={options} />
      <Input label="Snapshots to keep" type="number" min={1} max={100} value={keep} onChange={setKeep} required />
    </FormDialog>
  );
}
