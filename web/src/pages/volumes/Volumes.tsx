// SPDX-License-Identifier: Apache-2.0

import { Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { client, idempotent, type Pod, type Schemas, type Volume } from "../../api/client";
import { useLive } from "../../api/live";
import { useHasRole } from "../../api/role";
import { useVolumeClasses } from "../../api/useVolumeClasses";
import { whyNot } from "../../lib/allowed";
import { gibibytes } from "../../lib/format";
import { Badge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Check } from "../../ui/Check";
import { FormDialog } from "../../ui/Dialog";
import { Input, NAME, Select } from "../../ui/Field";
import { Labels } from "../../ui/Labels";
import { ListPage } from "../../ui/ListPage";
import type { Column } from "../../ui/tableColumns";
import { toast } from "../../ui/toasts";
import { When } from "../../ui/When";
import { Snapshots } from "./Snapshots";
import { upload } from "./transfer";

/** Volumes lists the tenant's volumes. */
export function Volumes() {
  const canChange = useHasRole("developer");
  const volumes = useLive<Volume>("volumes");
  const pods = useLive<Pod>("pods").items;
  const [creating, setCreating] = useState(false);
  const [uploading, setUploading] = useState(false);
  const [deleting, setDeleting] = useState<Volume>();
  const columns = useMemo(
    (): Column<Volume>[] => [
      {
        name: "Name",
        width: "minmax(110px, 1.4fr)",
        sort: (v) => v.name,
        cell: (v) => (
          <Link to="/volumes/$volumeId" params={{ volumeId: v.id }} className="strong">
            {v.name}
          </Link>
        ),
      },
      {
        name: "State",
        width: "132px",
        sort: (v) => v.state,
        cell: (v) => (
          <>
            <Badge state={v.state} title={v.message} /> {v.progressPercent !== undefined && `${v.progressPercent} %`}
          </>
        ),
      },
      { name: "Size", width: "86px", sort: (v) => v.sizeGiB, cell: (v) => gibibytes(v.sizeGiB), numeric: true },
      { name: "Class", width: "96px", wide: true, sort: (v) => v.class ?? "", cell: (v) => v.class },
      {
        name: "Pod",
        width: "minmax(0, 1fr)",
        wide: true,
        cell: (v) =>
          v.podId && (
            <Link to="/pods/$podId" params={{ podId: v.podId }}>
              {pods.find((p) => p.id === v.podId)?.name ?? v.podId.slice(0, 8)}
            </Link>
          ),
      },
      { name: "Labels", width: "minmax(0, 1.4fr)", wide: true, cell: (v) => <Labels labels={v.labels} /> },
      { name: "Age", width: "92px", wide: true, sort: (v) => -Date.parse(v.createdAt), cell: (v) => <When at={v.createdAt} /> },
      ...(canChange
        ? [
            {
              name: "Actions",
              width: "72px",
              cell: (v: Volume) => (
                <Button
                  small
                  look="quiet"
                  icon="trash"
                  aria-label={`Delete volume ${v.name}`}
                  unless={whyNot("volume", "delete", v.state)}
                  onClick={() => setDeleting(v)}
                />
              ),
            },
          ]
        : []),
    ],
    [pods, canChange],
  );
  const create = canChange && (
    <>
      <Button onClick={() => setUploading(true)}>Upload a volume</Button>
      <Button look="primary" onClick={() => setCreating(true)}>
        Create a volume
      </Button>
    </>
  );
  return (
    <ListPage
      title="Volumes"
      one="volume"
      list={volumes}
      columns={columns}
      sortedBy={["Name", false]}
      id={(v) => v.id}
      search="Name or ID"
      matches={(v, q) => v.name.includes(q) || v.id === q}
      create={create}
      empty={<p>A volume keeps data when its pod is deleted. Another pod, on any node, can then use the volume.</p>}
    >
      <Snapshots />
      {uploading && <UploadVolume close={() => setUploading(false)} />}
      {creating && <CreateVolume close={() => setCreating(false)} />}
      {deleting && <DeleteVolume volume={deleting} close={() => setDeleting(undefined)} />}
    </ListPage>
  );
}

function CreateVolume({ close }: { close: () => void }) {
  const [name, setName] = useState("");
  const [size, setSize] = useState("10");
  const [fsType, setFSType] = useState<Schemas["FSType"]>("ext4");
  const [encrypted, setEncrypted] = useState(false);
  const [volumeClass, setVolumeClass] = useState("");
  const classes = useVolumeClasses().data ?? [];
  const [key] = useState(idempotent);
  const run = async () => {
    const body = { name, sizeGiB: Number(size), fsType, encrypted, ...(volumeClass && { class: volumeClass }) };
    await client.POST("/v1/volumes", { params: { header: key }, body });
    toast(`Volume ${name} is being created.`);
  };
  return (
    <FormDialog title="Create a volume" submit="Create" close={close} run={run}>
      <Input label="Name" field="name" value={name} onChange={setName} pattern={NAME} maxLength={63} required autoFocus />
      <Input label="Size in GiB" type="number" min={1} max={16384} value={size} onChange={setSize} required />
      <Select
        label="File system"
        value={fsType}
        onChange={(v) => setFSType(v as Schemas["FSType"])}
        options={[
          ["ext4", "ext4"],
          ["xfs", "xfs"],
          ["none", "none: a block device"],
        ]}
      />
      <Check label="Encrypt it with a key of its own" checked={encrypted} onChange={setEncrypted} />
      {classes.length > 0 && (
        <Select
          label="Class"
          value={volumeClass || (classes.find((c) => c.default)?.name ?? "")}
          onChange={setVolumeClass}
          options={[
            ...(classes.some((c) => c.default) ? [] : [["", "none: the limits of its pod"] as [string, string]]),
            ...classes.map((c): [string, string] => [c.name, `${c.name}: ${limits(c)}`]),
          ]}
        />
      )}
    </FormDialog>
  );
}

function UploadVolume({ close }: { close: () => void }) {
  const [name, setName] = useState("");
  const [file, setFile] = useState<File>();
  const run = async () => {
    if (!file) return;
    await upload(name, file);
    toast(`Volume ${name} is uploaded.`);
  };
  return (
    <FormDialog title="Upload a volume" submit="Upload" close={close} run={run}>
      <p>
        A new volume gets the content of a file: a downloaded snapshot, or what <code>husk volume export</code> has written.
      </p>
      <Input label="Name" field="name" value={name} onChange={setName} pattern={NAME} maxLength={63} required autoFocus />
      <Input
        label="File"
        type="file"
        onInput={(e) => setFile(e.currentTarget.files?.[0])}
        onChange={() => undefined}
        hint="Keep this page open until the upload has ended."
        required
      />
    </FormDialog>
  );
}

/** limits says how much a volume with a class can read and write. */
function limits(c: Schemas["VolumeClass"]) {
  const parts = [c.iops > 0 && `${c.iops} IOPS`, c.mibPerSecond > 0 && `${c.mibPerSecond} MiB/s`].filter(Boolean);
  return parts.join(", ") || "unlimited";
}

/** ChangeClass gives a volume another class. */
export function ChangeClass({ volume, close }: { volume: Volume; close: () => void }) {
  const classes = useVolumeClasses().data ?? [];
  const [chosen, setChosen] = useState("");
  const name = chosen || (volume.class ?? classes[0]?.name ?? "");
  const run = async () => {
    await client.PATCH("/v1/volumes/{volumeId}", { params: { path: { volumeId: volume.id } }, body: { class: name } });
    toast(`Volume ${volume.name} has the class ${name} now.`);
  };
  return (
    <FormDialog title={`Change the class of ${volume.name}`} submit="Change class" close={close} run={run}>
      <p>{volume.podId ? "Its pod gets the new limits within seconds." : "The next pod that uses the volume has the new limits."}</p>
      <Select label="Class" value={name} onChange={setChosen} options={classes.map((c) => [c.name, `${c.name}: ${limits(c)}`])} />
    </FormDialog>
  );
}

export function GrowVolume({ volume, close }: { volume: Volume; close: () => void }) {
  const [size, setSize] = useState(String(volume.sizeGiB));
  const run = async () => {
    await client.PATCH("/v1/volumes/{volumeId}", { params: { path: { volumeId: volume.id } }, body: { sizeGiB: Number(size) } });
    toast(`Volume ${volume.name} gets ${size} GiB.`);
  };
  return (
    <FormDialog title={`Make volume ${volume.name} larger`} submit="Make larger" close={close} run={run}>
      <p>
        {volume.podId
          ? "The volume stays in use, and its file system grows within seconds."
          : "The file system grows when the next pod mounts the volume."}{" "}
        A volume cannot become smaller.
      </p>
      <Input label="Size in GiB" type="number" min={volume.sizeGiB} max={16384} value={size} onChange={setSize} required autoFocus />
    </FormDialog>
  );
}

export function DeleteVolume({ volume, close }: { volume: Volume; close: () => void }) {
  const [typed, setTyped] = useState("");
  const run = async () => {
    await client.DELETE("/v1/volumes/{volumeId}", { params: { path: { volumeId: volume.id } } });
    toast(`Volume ${volume.name} is being deleted.`);
  };
  return (
    <FormDialog title={`Delete volume ${volume.name}?`} submit="Delete volume and data" danger close={close} run={run}>
      <p>This deletes all data on the volume. It cannot be undone.</p>
      <Input label="Type the volume's name" value={typed} onChange={setTyped} pattern={volume.name} required autoFocus />
    </FormDialog>
  );
}
