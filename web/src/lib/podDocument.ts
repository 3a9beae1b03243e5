// SPDX-License-Identifier: Apache-2.0

// Converts a pod between the state of the form, a document for `husk apply`, and a `husk run` command.
import type { PodCreate, Schemas } from "../api/client";

export const API_VERSION = "husk/v1";

/** toDocument returns a document for `husk apply -f`. Empty fields and defaults are left out. */
export function toDocument(pod: PodCreate): object {
  const { labels, spec, name } = pod;
  return dropEmpty({
    apiVersion: API_VERSION,
    kind: "Pod",
    name,
    labels,
    spec: {
      ...spec,
      restartPolicy: spec.restartPolicy === "Always" ? undefined : spec.restartPolicy,
      terminationGracePeriodSeconds: spec.terminationGracePeriodSeconds === 30 ? undefined : spec.terminationGracePeriodSeconds,
    },
  }) as object;
}

/** parseDocument parses a document. It throws an Error if the structure is wrong; the API validates the rest. */
export function parseDocument(doc: unknown): PodCreate {
  if (typeof doc !== "object" || doc === null || Array.isArray(doc))
    throw new Error("the document must be an object with apiVersion, kind, name and spec");
  const { apiVersion, kind, name, labels, spec, ...rest } = doc as Record<string, unknown>;
  if (apiVersion !== undefined && apiVersion !== API_VERSION)
    throw new Error(`apiVersion is ${JSON.stringify(apiVersion)}; it must be ${API_VERSION}`);
  if (kind !== undefined && kind !== "Pod") throw new Error(`kind is ${JSON.stringify(kind)}; it must be Pod`);
  const unknown = Object.keys(rest)[0];
  if (unknown) throw new Error(`unknown field ${unknown}; the fields are apiVersion, kind, name, labels and spec`);
  if (typeof spec !== "object" || spec === null) throw new Error("spec is missing");
  const s = spec as Partial<Schemas["PodSpec"]>;
  if (!Array.isArray(s.containers) || s.containers.length === 0 || s.containers.some((c) => typeof c !== "object" || c === null))
    throw new Error("spec.containers must be a list of containers");
  if (typeof s.resources !== "object" || s.resources === null) throw new Error("spec.resources is missing");
  return {
    name: typeof name === "string" ? name : "",
    ...(labels ? { labels: labels as Record<string, string> } : {}),
    spec: s as Schemas["PodSpec"],
  };
}

/** MAPS are the fields whose names are the user's. Their empty values mean something. */
const MAPS = new Set(["labels", "annotations", "nodeSelector", "preferredNodeSelector", "sysctls", "values"]);

/** dropEmpty removes undefined values, empty strings, empty lists and empty objects at every level, except those that mean something. */
export function dropEmpty(v: unknown): unknown {
  if (Array.isArray(v)) return v.map((x) => (x === "" ? "" : dropEmpty(x)));
  if (typeof v !== "object" || v === null) return v;
  const kept = Object.entries(v)
    .map(([name, x]) => [name, MAPS.has(name) ? x : dropEmpty(x)] as const)
    .filter(
      ([name, x]) =>
        x !== undefined &&
        (x !== "" || name === "value") &&
        (name === "emptyDir" || !(typeof x === "object" && x !== null && Object.keys(x).length === 0)),
    );
  return Object.fromEntries(kept);
}

/** quoted quotes a word for a shell. */
export const quoted = (word: string) => (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

const RESTART = { Always: "always", OnFailure: "on-failure", Never: "no" } as const;

/** The options of a container for which `husk run` has no flag. */
const WITHOUT_FLAG = [
  "nonRoot",
  "restartPolicy",
  "startupProbe",
  "readinessProbe",
  "livenessProbe",
  "postStart",
  "preStop",
  "terminationMessagePath",
  "terminationMessageFromLog",
  "limits",
] as const;

/** runLine returns the `husk run` command that creates the same pod, or the reason why there is none. */
export function runLine(pod: PodCreate): { text: string; why?: undefined } | { text?: undefined; why: string } {
  const { containers, resources, volumes = [], restartPolicy = "Always", terminationGracePeriodSeconds = 30 } = pod.spec;
  const scheduling: Schemas["Scheduling"] = pod.spec.scheduling ?? {};
  const [c, more] = containers;
  if (!c || more) return { why: "it has more than one container" };
  if (pod.spec.initContainers?.length) return { why: "it has init containers" };
  if (pod.spec.activeDeadlineSeconds !== undefined) return { why: "it has a deadline" };
  if (pod.spec.ttlSecondsAfterFinished !== undefined) return { why: "it is deleted after its end" };
  const unflagged = WITHOUT_FLAG.find((option) => c[option] !== undefined);
  if (unflagged) return { why: `it has ${unflagged}` };
  if (c.stdinOnce) return { why: "it has stdinOnce" };
  if (c.files?.length) return { why: "it has files" };
  if ((c.command?.length ?? 0) > 1) return { why: "its command has more than one word" };
  if (scheduling.gang) return { why: "it belongs to a gang" };
  if (scheduling.disruption) return { why: "it has a disruption limit" };
  const words = ["husk", "run", `-d${c.stdin ? "i" : ""}${c.tty ? "t" : ""}`];
  const flag = (name: string, value: string) => words.push(name, quoted(value));
  if (pod.name) flag("--name", pod.name);
  flag("--cpus", String(resources.cpuMillis / 1000));
  flag("-m", `${resources.memoryMiB}m`);
  if (pod.spec.shmSizeMiB !== undefined) flag("--shm-size", `${pod.spec.shmSizeMiB}m`);
  if (pod.spec.ephemeralStorage === "memory") flag("--ephemeral-storage", "memory");
  if (pod.spec.ephemeralStorageGiB !== undefined) flag("--ephemeral-storage", `${pod.spec.ephemeralStorageGiB}g`);
  if (pod.spec.hostname) flag("--hostname", pod.spec.hostname);
  for (const a of pod.spec.hostAliases ?? []) for (const name of a.hostnames) flag("--add-host", `${name}:${a.ip}`);
  const dns = pod.spec.dnsConfig;
  if (dns?.nameservers?.length && pod.spec.dnsPolicy !== "None") return { why: "it has name servers in addition to the node's" };
  for (const s of dns?.nameservers ?? []) flag("--dns", s);
  for (const s of dns?.searches ?? []) flag("--dns-search", s);
  for (const o of dns?.options ?? []) flag("--dns-option", o.value ? `${o.name}:${o.value}` : o.name);
  for (const s of pod.spec.sysctls ?? []) flag("--sysctl", `${s.name}=${s.value}`);
  flag("--restart", RESTART[restartPolicy] + (c.maxRestarts ? `:${c.maxRestarts}` : ""));
  for (const [k, v] of Object.entries(pod.labels ?? {})) flag("-l", `${k}=${v}`);
  for (const e of c.env ?? []) flag("-e", `${e.name}=${e.value}`);
  if (c.volumeDevices?.length) return { why: "it uses a volume as a block device" };
  for (const m of c.volumeMounts ?? []) {
    const volume = volumes.find((v) => v.name === m.volume);
    if (volume?.emptyDir) {
      if (!volume.emptyDir.memory || m.subPath || m.readOnly) return { why: "it has an empty directory" };
      flag("--tmpfs", `${m.mountPath}${volume.emptyDir.sizeMiB ? `:size=${volume.emptyDir.sizeMiB}m` : ""}`);
      continue;
    }
    if (volume?.snapshotId) {
      flag("--snapshot", `${volume.snapshotId}:${m.mountPath}`);
      continue;
    }
    flag("-v", `${volume?.volumeId ?? m.volume}:${m.mountPath}${m.readOnly ? ":ro" : ""}`);
  }
  if (c.privileged) words.push("--privileged");
  if (c.initProcess) words.push("--init");
  if (c.readOnlyRoot) words.push("--read-only");
  for (const g of c.groups ?? []) flag("--group-add", g);
  for (const name of c.capabilitiesAdd ?? []) flag("--cap-add", name);
  for (const name of c.capabilitiesDrop ?? []) flag("--cap-drop", name);
  if (c.noNewPrivileges !== undefined) flag("--security-opt", `no-new-privileges${c.noNewPrivileges ? "" : "=false"}`);
  for (const u of c.ulimits ?? []) flag("--ulimit", `${u.name}=${u.soft}:${u.hard}`);
  if (c.stopSignal) flag("--stop-signal", c.stopSignal);
  if (terminationGracePeriodSeconds !== 30) flag("--stop-timeout", String(terminationGracePeriodSeconds));
  if (c.user) flag("-u", c.user);
  if (c.workingDir) flag("-w", c.workingDir);
  if (c.command?.[0]) flag("--entrypoint", c.command[0]);
  for (const [k, v] of Object.entries(scheduling.nodeSelector ?? {})) flag("--node-selector", `${k}=${v}`);
  for (const [k, v] of Object.entries(scheduling.preferredNodeSelector ?? {})) flag("--prefer-node", `${k}=${v}`);
  for (const t of scheduling.tolerations ?? []) flag("--tolerate", t);
  for (const r of scheduling.rules ?? []) {
    if ((r.maxSkew ?? 1) !== 1) return { why: "its maxSkew is greater than 1" };
    const name = { AntiAffinity: "--anti-affinity", Affinity: "--affinity", Spread: "--spread" }[r.kind];
    flag(name, `${r.label}${r.value ? `=${r.value}` : ""}:${r.topologyKey}`);
  }
  if (scheduling.priority) flag("--priority", String(scheduling.priority));
  if (scheduling.expectedLifetimeSeconds) flag("--expected-lifetime", `${scheduling.expectedLifetimeSeconds}s`);
  words.push(quoted(c.image || "IMAGE"), ...(c.args ?? []).map(quoted));
  return { text: words.join(" ") };
}

/** split splits a command line into words like a shell: quotes group words, and a backslash escapes the next character. */
export function split(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let i = 0; i < line.length; i++) {
    const ch = line[i] as string;
    if (quote) {
      if (ch === quote) quote = "";
      else if (ch === "\\" && quote === '"' && /["\\$`]/.test(line[i + 1] ?? "")) word = (word ?? "") + line[++i];
      else word = (word ?? "") + ch;
    } else if (ch === "'" || ch === '"') {
      quote = ch;
      word ??= "";
    } else if (ch === "\\" && i + 1 < line.length) word = (word ?? "") + line[++i];
    else if (/\s/.test(ch)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? "") + ch;
  }
  if (word !== undefined) words.push(word);
  return words;
}

export const join = (words: string[] = []) => words.map((w) => (w === "" ? "''" : quoted(w))).join(" ");
