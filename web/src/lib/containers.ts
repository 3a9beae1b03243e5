// SPDX-License-Identifier: Apache-2.0

import type { Pod, Schemas } from "../api/client";
import { coresOf, mebibytes } from "./format";

type Container = Schemas["Container"];
type Probe = Schemas["Probe"];
type Hook = Schemas["Hook"];

/** allContainers returns the init containers and then the others, each with what is special about its kind. */
export function allContainers(spec: Schemas["PodSpec"]): (Container & { kind?: string })[] {
  const initial = (spec.initContainers ?? []).map((c) => ({ ...c, kind: c.restartPolicy === "Always" ? "sidecar" : "init" }));
  return [...initial, ...spec.containers];
}

/** readiness counts the containers and sidecars of a pod, and those that are ready. An agent of an earlier version does not say which are. */
export function readiness(pod: Pod): { ready: number; all: number } {
  const names = new Set(
    allContainers(pod.spec)
      .filter((c) => c.kind !== "init")
      .map((c) => c.name),
  );
  const ready = pod.status.containers.filter((s) => names.has(s.name) && s.state === "Running" && s.ready !== false);
  return { ready: ready.length, all: names.size };
}

const action = (a: { exec?: string[]; httpGet?: Schemas["HTTPGet"] }) =>
  a.httpGet ? `GET ${a.httpGet.scheme ?? "http"} port ${a.httpGet.port} ${a.httpGet.path ?? "/"}` : (a.exec ?? []).join(" ");

function probe(p?: Probe): string | undefined {
  if (!p) return undefined;
  const what = p.tcpPort ? `TCP port ${p.tcpPort}` : p.grpc ? `gRPC port ${p.grpc.port} ${p.grpc.service ?? ""}`.trim() : action(p);
  const numbers = [
    `every ${p.periodSeconds ?? 10} s`,
    p.initialDelaySeconds ? `after ${p.initialDelaySeconds} s` : "",
    `timeout ${p.timeoutSeconds ?? 1} s`,
    `fails after ${p.failureThreshold ?? 3} failures`,
  ];
  return `${what}, ${numbers.filter(Boolean).join(", ")}`;
}

const hook = (h?: Hook) => h && (h.sleepSeconds ? `sleep ${h.sleepSeconds} s` : action(h));

/** optionsOf returns the names and values of the options that a container sets. */
export function optionsOf(c: Container): [string, string][] {
  const yes = (on?: boolean) => (on ? "yes" : undefined);
  const limits = [c.limits?.cpuMillis && coresOf(c.limits.cpuMillis), c.limits?.memoryMiB && mebibytes(c.limits.memoryMiB)];
  const all: [string, string | undefined][] = [
    ["Restart policy", c.restartPolicy],
    ["Maximum of restarts", c.maxRestarts?.toString()],
    ["Limits", limits.filter(Boolean).join(", ")],
    ["Devices", c.volumeDevices?.map((d) => `${d.volume} at ${d.devicePath}`).join(", ")],
    ["Ulimits", c.ulimits?.map((u) => `${u.name} ${u.soft} (hard ${u.hard})`).join(", ")],
    ["Startup probe", probe(c.startupProbe)],
    ["Readiness probe", probe(c.readinessProbe)],
    ["Liveness probe", probe(c.livenessProbe)],
    ["After its start", hook(c.postStart)],
    ["Before its stop", hook(c.preStop)],
    ["Stop signal", c.stopSignal],
    ["Groups", c.groups?.join(", ")],
    ["Added capabilities", c.capabilitiesAdd?.join(", ")],
    ["Dropped capabilities", c.capabilitiesDrop?.join(", ")],
    ["Init process", yes(c.initProcess)],
    ["Privileged", yes(c.privileged)],
    ["Read-only root", yes(c.readOnlyRoot)],
    ["No new privileges", yes(c.noNewPrivileges)],
    ["Not as root", yes(c.nonRoot)],
  ];
  return all.filter((o): o is [string, string] => Boolean(o[1]));
}
