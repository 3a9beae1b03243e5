// SPDX-License-Identifier: Apache-2.0

import type { PodCreate, Schemas, Snapshot, Volume } from "../../api/client";
import { useLive } from "../../api/live";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { Input, Select } from "../../ui/Field";
import { Line } from "../../ui/Line";
import { Presets } from "../../ui/Presets";

type PodVolume = Schemas["PodVolume"];

interface Props {
  pod: PodCreate;
  change: (pod: PodCreate) => void;
  volumes: Volume[];
  configs: Schemas["Config"][];
}

/** VolumesForm edits what the containers of the pod can mount: volumes, configs, secrets and empty directories. */
export function VolumesForm({ pod, change, volumes, configs }: Props) {
  const taken = pod.spec.volumes ?? [];
  const snapshots = useLive<Snapshot>("snapshots").items.filter((s) => s.state === "Ready");
  const free = volumes.filter((v) => !v.podId && v.state !== "Deleting" && !taken.some((t) => t.volumeId === v.id));
  const set = (next: PodVolume[]) => {
    const names = new Set(next.map((v) => v.name));
    change({
      ...pod,
      spec: {
        ...pod.spec,
        volumes: next,
        containers: pod.spec.containers.map((c) => ({
          ...c,
          volumeMounts: (c.volumeMounts ?? []).filter((m) => names.has(m.volume)),
          volumeDevices: c.volumeDevices?.filter((d) => names.has(d.volume)),
        })),
      },
    });
  };
  const add = (name: string, what: Omit<PodVolume, "name">) => {
    let unique = name;
    for (let n = 2; taken.some((t) => t.name === unique); n++) unique = `${name}-${n}`;
    set([...taken, { name: unique, ...what }]);
  };
  const resize = (name: string, sizeMiB?: number) =>
    set(taken.map((t) => (t.name === name ? { ...t, emptyDir: { ...t.emptyDir, sizeMiB } } : t)));
  return (
    <Card title="Volumes">
      {taken.map((v) => (
        <Line key={v.name}>
          <span>
            <strong>{described(v, volumes, snapshots)}</strong> as <code>{v.name}</code>
          </span>
          {v.emptyDir && (
            <Input
              label={`Size limit of ${v.name} in MiB`}
              type="number"
              min={1}
              max={16777216}
              value={v.emptyDir.sizeMiB ?? ""}
              placeholder="no limit of its own"
              onChange={(size) => resize(v.name, Math.round(Number(size)) || undefined)}
            />
          )}
          <Button
            small
            look="quiet"
            icon="trash"
            aria-label={`Remove the volume ${v.name}`}
            onClick={() => set(taken.filter((t) => t !== v))}
          />
        </Line>
      ))}
      <Select
        label="Attach a volume"
        value=""
        onChange={(id) => {
          const v = volumes.find((o) => o.id === id);
          if (v) add(v.name, { volumeId: v.id });
        }}
        options={[
          ["", free.length > 0 ? "Choose a volume…" : "No volume is available"],
          ...free.map((v): [string, string] => [v.id, `${v.name}, ${v.sizeGiB} GiB`]),
        ]}
        hint="Then enter its mount path in the container."
      />
      {snapshots.length > 0 && (
        <Select
          label="Attach a snapshot"
          value=""
          onChange={(id) => add(`snapshot-${id.slice(0, 8)}`, { snapshotId: id })}
          options={[
            ["", "Choose a snapshot…"],
            ...snapshots
              .filter((s) => !taken.some((t) => t.snapshotId === s.id))
              .map((s): [string, string] => [s.id, `${s.name}, of ${s.volumeName}`]),
          ]}
          hint="Containers can only read it, and many pods can read it at the same time."
        />
      )}
      <Select
        label="Add the values of a config or secret"
        value=""
        onChange={(id) => {
          const c = configs.find((o) => o.id === id);
          if (c) add(c.name, c.kind === "Secret" ? { secret: { name: c.name } } : { config: { name: c.name } });
        }}
        options={[
          ["", configs.length > 0 ? "Choose a config or secret…" : "There are no configs and secrets"],
          ...configs.map((c): [string, string] => [c.id, `${c.name}, ${c.kind.toLowerCase()}`]),
        ]}
        hint="Containers see them as files."
      />
      <Presets>
        <Button small icon="plus" onClick={() => add("scratch", { emptyDir: {} })}>
          Empty directory
        </Button>
        <Button small icon="plus" onClick={() => add("memory", { emptyDir: { memory: true } })}>
          Empty directory in memory
        </Button>
      </Presets>
    </Card>
  );
}

function described(v: PodVolume, volumes: Volume[], snapshots: Snapshot[]) {
  if (v.snapshotId) return `The snapshot ${snapshots.find((s) => s.id === v.snapshotId)?.name ?? v.snapshotId}`;
  if (v.emptyDir) return v.emptyDir.memory ? "An empty directory in memory" : "An empty directory";
  if (v.projected) return "Files from several sources";
  if (v.config) return `The config ${v.config.name}`;
  if (v.secret) return `The secret ${v.secret.name}`;
  return volumes.find((o) => o.id === v.volumeId)?.name ?? v.volumeId;
}
