// SPDX-License-Identifier: Apache-2.0

import type { Image, PodCreate, Schemas, Volume } from "../../api/client";
import { join, split } from "../../lib/podDocument";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { Check } from "../../ui/Check";
import { Columns } from "../../ui/Columns";
import { Input, NAME, Select } from "../../ui/Field";
import { Line } from "../../ui/Line";
import { Pairs } from "../../ui/Pairs";
import { Panel } from "../../ui/Panel";
import { Presets } from "../../ui/Presets";
import { NamesForm } from "./NamesForm";
import { useWords } from "./useWords";
import { VolumesForm } from "./VolumesForm";

type Container = Schemas["Container"];
type Scheduling = Schemas["Scheduling"];
type Rule = Schemas["SchedulingRule"];

interface Props {
  pod: PodCreate;
  change: (pod: PodCreate) => void;
  images: Image[];
  volumes: Volume[];
  configs: Schemas["Config"][];
  wrong?: string; // the field that the API rejected
  message?: string; // why
}

const SIZES: [name: string, cpuMillis: number, memoryMiB: number][] = [
  ["Tiny", 250, 128],
  ["Small", 500, 256],
  ["Medium", 1000, 1024],
  ["Large", 2000, 4096],
];

/** PodForm edits a pod field by field. */
export function PodForm({ pod, change, images, volumes, configs, wrong, message }: Props) {
  const { spec } = pod;
  const setSpec = (to: Partial<typeof spec>) => change({ ...pod, spec: { ...spec, ...to } });
  const setContainer = (i: number, to: Partial<Container>) =>
    setSpec({ containers: spec.containers.map((c, j) => (i === j ? { ...c, ...to } : c)) });
  const at = (field: string) => (wrong === field || wrong?.startsWith(`${field}.`) ? message : undefined);
  return (
    <>
      <Card title="Pod">
        <Input
          label="Name"
          value={pod.name}
          onChange={(name) => change({ ...pod, name })}
          error={at("name")}
          hint="Lower-case letters, digits and hyphens."
          pattern={NAME}
          maxLength={63}
          required
        />
        <Pairs label="Labels" value={pod.labels ?? {}} change={(labels) => change({ ...pod, labels })} />
      </Card>
      <Card title="Size">
        <Presets>
          {SIZES.map(([name, cpuMillis, memoryMiB]) => (
            <Button
              key={name}
              small
              aria-pressed={spec.resources.cpuMillis === cpuMillis && spec.resources.memoryMiB === memoryMiB}
              onClick={() => setSpec({ resources: { cpuMillis, memoryMiB } })}
            >
              {name}
            </Button>
          ))}
        </Presets>
        <Columns>
          <Input
            label="Cores"
            type="number"
            min={0.05}
            max={256}
            step={0.05}
            value={spec.resources.cpuMillis / 1000}
            onChange={(v) => setSpec({ resources: { ...spec.resources, cpuMillis: Math.round(Number(v) * 1000) } })}
            error={at("spec.resources.cpuMillis")}
            required
          />
          <Input
            label="Memory in MiB"
            type="number"
            min={32}
            max={4194304}
            value={spec.resources.memoryMiB}
            onChange={(v) => setSpec({ resources: { ...spec.resources, memoryMiB: Math.round(Number(v)) } })}
            error={at("spec.resources.memoryMiB")}
            hint="What the containers can use together."
            required
          />
          <Input
            label="Ephemeral storage in GiB"
            type="number"
            min={1}
            max={65536}
            value={spec.ephemeralStorageGiB ?? ""}
            placeholder={spec.ephemeralStorage === "memory" ? "in memory" : "10"}
            disabled={spec.ephemeralStorage === "memory"}
            onChange={(v) => setSpec({ ephemeralStorageGiB: Math.round(Number(v)) || undefined })}
            error={at("spec.ephemeralStorageGiB")}
            hint="The disk for what containers write outside of volumes."
          />
        </Columns>
        <Check
          label="Keep what containers write in memory"
          checked={spec.ephemeralStorage === "memory"}
          onChange={(on) => setSpec({ ephemeralStorage: on ? "memory" : undefined, ephemeralStorageGiB: undefined })}
        />
      </Card>
      {spec.containers.map((c, i) => (
        <Card
          // biome-ignore lint/suspicious/noArrayIndexKey: the index identifies the container, because its name changes while the user types
          key={i}
          title={spec.containers.length > 1 ? `Container ${i + 1}` : "Container"}
          actions={
            spec.containers.length > 1 && (
              <Button small look="quiet" icon="trash" onClick={() => setSpec({ containers: spec.containers.filter((_, j) => i !== j) })}>
                Remove
              </Button>
            )
          }
        >
          <ContainerForm
            container={c}
            change={(to) => setContainer(i, to)}
            images={images}
            error={(f) => at(`spec.containers[${i}].${f}`) ?? (f === "image" ? at("spec.containers") : undefined)}
          />
          <Mounts pod={pod} container={c} volumes={volumes} change={(to) => setContainer(i, to)} />
        </Card>
      ))}
      <Button
        icon="plus"
        small
        disabled={spec.containers.length >= 16}
        onClick={() => setSpec({ containers: [...spec.containers, { name: `c${spec.containers.length + 1}`, image: "" }] })}
      >
        Add container
      </Button>
      <VolumesForm pod={pod} change={change} volumes={volumes} configs={configs} />
      <Card title="Restart and shutdown">
        <Columns>
          <Select
            label="When a container exits"
            value={spec.restartPolicy ?? "Always"}
            onChange={(v) => setSpec({ restartPolicy: v as Schemas["RestartPolicy"] })}
            options={[
              ["Always", "Always restart it"],
              ["OnFailure", "Restart it if it failed"],
              ["Never", "Do not restart it"],
            ]}
          />
          <Input
            label="Grace period in seconds"
            type="number"
            min={0}
            max={3600}
            value={spec.terminationGracePeriodSeconds ?? 30}
            onChange={(v) => setSpec({ terminationGracePeriodSeconds: Math.round(Number(v)) })}
            hint="Time between the stop signal and SIGKILL."
          />
        </Columns>
      </Card>
      <NamesForm spec={spec} change={setSpec} error={at} />
      <SchedulingForm value={spec.scheduling ?? {}} change={(scheduling) => setSpec({ scheduling })} />
    </>
  );
}

function ContainerForm({
  container: c,
  change,
  images,
  error,
}: {
  container: Container;
  change: (to: Partial<Container>) => void;
  images: Image[];
  error: (field: string) => string | undefined;
}) {
  const [args, setArgs] = useWords(c.args, join, split, (words) => change({ args: words }));
  const [command, setCommand] = useWords(c.command, join, split, (words) => change({ command: words }));
  return (
    <>
      <Columns>
        <Input
          label="Image"
          list="images"
          value={c.image}
          onChange={(image) => change({ image })}
          error={error("image")}
          placeholder="registry.example.com/nginx:1.22"
          hint="If the image is not imported yet, it is imported first."
          required
        />
        <Input label="Container name" value={c.name} onChange={(name) => change({ name })} error={error("name")} pattern={NAME} required />
      </Columns>
      <datalist id="images">
        {[...new Set(images.map((i) => i.reference))].map((r) => (
          <option key={r} value={r} />
        ))}
      </datalist>
      <Columns>
        <Input label="Arguments" value={args} onChange={setArgs} hint="Replaces the image's command. Quote as in a shell." />
        <Input label="Command" value={command} onChange={setCommand} hint="Replaces the image's entrypoint." />
      </Columns>
      <Pairs
        label="Environment"
        value={Object.fromEntries((c.env ?? []).filter((e) => !e.from).map((e) => [e.name, e.value ?? ""]))}
        change={(env) =>
          change({ env: [...(c.env ?? []).filter((e) => e.from), ...Object.entries(env).map(([name, value]) => ({ name, value }))] })
        }
      />
      <details>
        <summary>User, working directory and privileges</summary>
        <Columns>
          <Input
            label="User"
            value={c.user ?? ""}
            onChange={(user) => change({ user })}
            hint="A name from the image or a number, optionally with :group."
          />
          <Input
            label="Working directory"
            value={c.workingDir ?? ""}
            onChange={(workingDir) => change({ workingDir })}
            error={error("workingDir")}
          />
        </Columns>
        <Check
          label="Privileged: root in the container has the whole virtual machine"
          checked={c.privileged ?? false}
          onChange={(on) => change({ privileged: on || undefined })}
        />
      </details>
    </>
  );
}

interface MountsProps {
  pod: PodCreate;
  container: Container;
  volumes: Volume[];
  change: (to: Partial<Container>) => void;
}

/** Mounts edits the paths of the pod's volumes in a container: mount paths, and for volumes without a file system those of devices. */
function Mounts({ pod, container, volumes, change }: MountsProps) {
  const taken = pod.spec.volumes ?? [];
  const mounts = container.volumeMounts ?? [];
  const devices = container.volumeDevices ?? [];
  if (taken.length === 0) return null;
  return (
    <fieldset>
      <legend>Mounts</legend>
      {taken.map((v) => {
        if (volumes.find((o) => o.id === v.volumeId)?.fsType === "none") {
          const others = devices.filter((d) => d.volume !== v.name);
          return (
            <Input
              key={v.name}
              label={`Device path of ${v.name}`}
              value={devices.find((d) => d.volume === v.name)?.devicePath ?? ""}
              placeholder="such as /dev/xvda"
              onChange={(devicePath) =>
                change({
                  volumeDevices: devicePath ? [...others, { volume: v.name, devicePath }] : others,
                  volumeMounts: mounts.filter((m) => m.volume !== v.name), // it has no file system
                })
              }
            />
          );
        }
        const m = mounts.find((m) => m.volume === v.name);
        const others = mounts.filter((m) => m.volume !== v.name);
        return (
          <Line key={v.name}>
            <Input
              label={`Path of ${v.name}`}
              value={m?.mountPath ?? ""}
              placeholder="not mounted"
              onChange={(mountPath) => change({ volumeMounts: mountPath ? [...others, { ...m, volume: v.name, mountPath }] : others })}
            />
            <Check
              label="read-only"
              checked={m?.readOnly ?? false}
              onChange={(readOnly) => m && change({ volumeMounts: [...others, { ...m, readOnly }] })}
            />
          </Line>
        );
      })}
    </fieldset>
  );
}

/** SchedulingForm edits the scheduling of the pod. Gangs and disruption limits can only be set in the document. */
function SchedulingForm({ value, change }: { value: Scheduling; change: (s: Scheduling) => void }) {
  const [tolerations, setTolerations] = useWords(value.tolerations, join, split, (words) => change({ ...value, tolerations: words }));
  const rules = value.rules ?? [];
  const setRule = (i: number, to: Partial<Rule>) => change({ ...value, rules: rules.map((r, j) => (i === j ? { ...r, ...to } : r)) });
  return (
    <Panel as="details">
      <summary>
        <h2>Scheduling</h2>
      </summary>
      <Pairs label="Required node labels" value={value.nodeSelector ?? {}} change={(nodeSelector) => change({ ...value, nodeSelector })} />
      <Pairs
        label="Preferred node labels"
        value={value.preferredNodeSelector ?? {}}
        change={(preferredNodeSelector) => change({ ...value, preferredNodeSelector })}
      />
      <Columns>
        <Input label="Tolerated taints" value={tolerations} onChange={setTolerations} placeholder="dedicated=web" />
        <Input
          label="Priority"
          type="number"
          min={-1000}
          max={1000}
          value={value.priority ?? 0}
          onChange={(v) => change({ ...value, priority: Math.round(Number(v)) || undefined })}
          hint="Pods with a higher priority can evict pods with a lower one."
        />
      </Columns>
      <fieldset>
        <legend>Rules</legend>
        {rules.map((r, i) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: the index identifies the rule
          <Line key={i}>
            <Select
              label="Kind"
              value={r.kind}
              onChange={(kind) => setRule(i, { kind: kind as Rule["kind"] })}
              options={[
                ["AntiAffinity", "anti-affinity"],
                ["Affinity", "affinity"],
                ["Spread", "spread"],
              ]}
            />
            <Input label="Pod label" value={r.label} onChange={(label) => setRule(i, { label })} required />
            <Input
              label="Label value"
              value={r.value ?? ""}
              onChange={(v) => setRule(i, { value: v || undefined })}
              placeholder="the value of this pod"
            />
            <Input label="Topology key" value={r.topologyKey} onChange={(topologyKey) => setRule(i, { topologyKey })} required />
            <Button
              small
              look="quiet"
              icon="trash"
              aria-label="Remove the rule"
              onClick={() => change({ ...value, rules: rules.filter((_, j) => i !== j) })}
            />
          </Line>
        ))}
        <Button
          small
          icon="plus"
          disabled={rules.length >= 8}
          onClick={() => change({ ...value, rules: [...rules, { kind: "AntiAffinity", label: "app", topologyKey: "node" }] })}
        >
          Add rule
        </Button>
      </fieldset>
    </Panel>
  );
}
