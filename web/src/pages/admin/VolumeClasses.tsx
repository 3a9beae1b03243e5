// SPDX-License-Identifier: Apache-2.0

import { useState } from "react";
import { ApiError, client, data, type Schemas } from "../../api/client";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { Check } from "../../ui/Check";
import { FormDialog } from "../../ui/Dialog";
import { Input, NAME } from "../../ui/Field";
import { Loading } from "../../ui/Loading";
import { Problem } from "../../ui/Problem";
import { ScrollX } from "../../ui/ScrollX";
import { When } from "../../ui/When";
import { useChangedPlatform, usePlatform } from "./queries";

type VolumeClass = Schemas["VolumeClass"];

const limit = (n: number) => (n === 0 ? "unlimited" : n);

/** VolumeClasses lists the volume classes with their limits. */
export function VolumeClasses() {
  const classes = usePlatform("volume-classes", () => data(client.GET("/v1/admin/volume-classes")));
  const [dialog, setDialog] = useState<"create" | { change: VolumeClass } | { remove: VolumeClass }>();
  const close = () => setDialog(undefined);
  return (
    <Card
      title="Volume classes"
      actions={
        <Button small icon="plus" onClick={() => setDialog("create")}>
          Volume class
        </Button>
      }
    >
      <Problem error={classes.error} retry={() => void classes.refetch()} />
      {classes.isPending && <Loading />}
      {classes.data?.length === 0 && (
        <p className="muted">No volume classes. Volumes share the limits of their pod with its other disks.</p>
      )}
      {(classes.data?.length ?? 0) > 0 && (
        <ScrollX label="Volume classes">
          <table>
            <thead>
              <tr>
                <th>Name</th>
                <th className="numeric">IOPS</th>
                <th className="numeric">MiB/s</th>
                <th className="numeric">Volumes</th>
                <th>Created</th>
                <th>Actions</th>
              </tr>
            </thead>
            <tbody>
              {classes.data?.map((c) => (
                <tr key={c.name}>
                  <td>
                    {c.name} {c.default && <span className="muted">default</span>}
                  </td>
                  <td className="numeric">{limit(c.iops)}</td>
                  <td className="numeric">{limit(c.mibPerSecond)}</td>
                  <td className="numeric">{c.volumes}</td>
                  <td>
                    <When at={c.createdAt} />
                  </td>
                  <td>
                    <Button small aria-label={`Change volume class ${c.name}`} onClick={() => setDialog({ change: c })}>
                      Change
                    </Button>{" "}
                    <Button
                      small
                      look="quiet"
                      icon="trash"
                      aria-label={`Delete volume class ${c.name}`}
                      unless={c.volumes ? "Volumes have this class. Give them another class first." : undefined}
                      onClick={() => setDialog({ remove: c })}
                    />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </ScrollX>
      )}
      {dialog === "create" && <EditClass close={close} />}
      {typeof dialog === "object" && "change" in dialog && <EditClass existing={dialog.change} close={close} />}
      {typeof dialog === "object" && "remove" in dialog && <RemoveClass existing={dialog.remove} close={close} />}
    </Card>
  );
}

function EditClass({ existing, close }: { existing?: VolumeClass; close: () => void }) {
  const changed = useChangedPlatform();
  const [name, setName] = useState(existing?.name ?? "");
  const [iops, setIOPS] = useState(String(existing?.iops ?? 1000));
  const [mib, setMiB] = useState(String(existing?.mibPerSecond ?? 100));
  const [standard, setStandard] = useState(existing?.default ?? false);
  const run = async () => {
    if (!existing) {
      const { items } = await data(client.GET("/v1/admin/volume-classes"));
      if (items.some((c) => c.name === name))
        throw new ApiError({ code: "name_taken", field: "name", detail: `A volume class named ${name} exists already.` });
    }
    const body = { iops: Number(iops), mibPerSecond: Number(mib), default: standard };
    await client.PUT("/v1/admin/volume-classes/{class}", { params: { path: { class: name } }, body });
    await changed();
  };
  return (
    <FormDialog
      title={existing ? `Change volume class ${existing.name}` : "Create a volume class"}
      submit={existing ? "Save" : "Create"}
      close={close}
      run={run}
    >
      {!existing && <Input label="Name" field="name" value={name} onChange={setName} pattern={NAME} maxLength={63} required autoFocus />}
      <Input
        label="IOPS"
        field="iops"
        type="number"
        min={0}
        max={10000000}
        value={iops}
        onChange={setIOPS}
        hint="Reads and writes per second of each volume. 0: no limit."
        required
      />
      <Input
        label="MiB per second"
        field="mibPerSecond"
        type="number"
        min={0}
        max={1000000}
        value={mib}
        onChange={setMiB}
        hint="Reads and writes of each volume together. 0: no limit."
        required
      />
      <Check label="Default for new volumes" checked={standard} onChange={setStandard} />
    </FormDialog>
  );
}

function RemoveClass({ existing, close }: { existing: VolumeClass; close: () => void }) {
  const changed = useChangedPlatform();
  const run = async () => {
    await client.DELETE("/v1/admin/volume-classes/{class}", { params: { path: { class: existing.name } } });
    await changed();
  };
  return (
    <FormDialog title={`Delete volume class ${existing.name}?`} submit="Delete" danger close={close} run={run}>
      <p>No volume has it.</p>
    </FormDialog>
  );
}
