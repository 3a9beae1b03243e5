// SPDX-License-Identifier: Apache-2.0

// The picture of a tenant's networks: where everything is drawn, and which pods may connect to which others. Nothing here draws.
import type { Address, Network, Pod, SecurityGroup, Service } from "../api/client";
import { selects } from "./selector";

/** SHOWN is how many pods are drawn. More would not be readable. */
export const SHOWN = 60;

export interface Box {
  id: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface PodBox extends Box {
  pod: Pod;
  network: string;
  address: string;
}

export interface NetworkBox extends Box {
  network: Network;
  pods: PodBox[];
}

export interface ServiceBox extends Box {
  service: Service;
}

/** Edge leads connections from one box to another. */
export interface Edge {
  id: string;
  from: Box;
  to: Box;
  ready: boolean; // connections go there now
}

export interface Picture {
  width: number;
  height: number;
  outside?: Box;
  services: ServiceBox[];
  networks: NetworkBox[];
  edges: Edge[];
  hidden: number; // pods that are not drawn
}

const GAP = 16;
const POD = { width: 176, height: 46 };
const SERVICE = { width: 168, height: 46 };
const HEAD = 30; // above the pods of a network
const PER_ROW = 3;

const isThere = (p: Pod) => p.status.interfaces !== undefined && p.status.phase !== "Succeeded" && p.status.phase !== "Failed";

/** draw places networks on the right, the services that lead to their pods left of them, and what is outside on the left. */
export function draw(networks: Network[], pods: Pod[], services: Service[], addresses: Address[]): Picture {
  const there = pods.filter(isThere);
  const shown = there.slice(0, SHOWN);
  const bound = addresses.filter((a) => a.target);
  const left = bound.length > 0 ? 150 + 3 * GAP : 0;
  const middle = services.length > 0 ? SERVICE.width + 4 * GAP : 0;
  const networkX = GAP + left + middle;
  let y = GAP;
  const networkBoxes = networks.map((network): NetworkBox => {
    const inside = shown.filter((p) => p.status.interfaces?.some((i) => i.network === network.name));
    const rows = Math.max(1, Math.ceil(inside.length / PER_ROW));
    const box = {
      id: network.id,
      network,
      x: networkX,
      y,
      width: PER_ROW * (POD.width + GAP) + GAP,
      height: HEAD + rows * (POD.height + GAP),
    };
    y += box.height + GAP;
    const placed = inside.map(
      (pod, i): PodBox => ({
        id: `${pod.id} ${network.name}`,
        pod,
        network: network.name,
        address: pod.status.interfaces?.find((f) => f.network === network.name)?.address ?? "",
        x: box.x + GAP + (i % PER_ROW) * (POD.width + GAP),
        y: box.y + HEAD + Math.floor(i / PER_ROW) * (POD.height + GAP),
        ...POD,
      }),
    );
    return { ...box, pods: placed };
  });
  const serviceBoxes = services.map(
    (service, i): ServiceBox => ({ id: service.id, service, x: GAP + left, y: GAP + HEAD + i * (SERVICE.height + GAP), ...SERVICE }),
  );
  const height = Math.max(y, GAP + HEAD + serviceBoxes.length * (SERVICE.height + GAP));
  const outside: Box | undefined = bound.length > 0 ? { id: "outside", x: GAP, y: GAP + HEAD, width: 150, height: 46 } : undefined;

  const edges: Edge[] = [];
  const boxOf = (podId: string, address: string) =>
    networkBoxes.flatMap((n) => n.pods).find((p) => p.pod.id === podId && (address === "" || p.address === address));
  for (const from of serviceBoxes)
    for (const e of from.service.status.endpoints) {
      const to = boxOf(e.podId, e.address);
      if (to) edges.push({ id: `${from.id} ${to.id}`, from, to, ready: e.ready });
    }
  for (const a of bound) {
    const to = serviceBoxes.find((s) => s.id === a.target?.serviceId) ?? (a.target?.podId ? boxOf(a.target.podId, "") : undefined);
    if (outside && to) edges.push({ id: `${a.id} ${to.id}`, from: outside, to, ready: true });
  }
  return {
    width: networkX + PER_ROW * (POD.width + GAP) + 2 * GAP,
    height,
    outside,
    services: serviceBoxes,
    networks: networkBoxes,
    edges,
    hidden: there.length - shown.length,
  };
}

/** reaches says whether packets find the way from one pod to another: they are in the same network, or routers connect theirs. */
export function reaches(from: Pod, to: Pod, networks: Network[]): boolean {
  const isolated = new Set(networks.filter((n) => n.isolated).map((n) => n.name));
  const names = (p: Pod) => (p.status.interfaces ?? []).map((i) => i.network);
  const routed = (p: Pod) => names(p).some((n) => !isolated.has(n));
  return names(from).some((n) => names(to).includes(n)) || (routed(from) && routed(to));
}

type Rule = NonNullable<SecurityGroup["rules"]>[number];

/** groupsOf returns the security groups of a pod: those that it names, and those that select it. */
export const groupsOf = (pod: Pod, groups: SecurityGroup[]) =>
  groups.filter((g) => pod.spec.securityGroups?.includes(g.name) || selects(g.selector ?? "", pod.labels));

/**
 * mayConnect says whether security groups allow connections from one pod to another, and at which ports: undefined if at none. Blocks of
 * addresses in rules count if they contain the other pod's IPv4 address.
 */
export function mayConnect(from: Pod, to: Pod, groups: SecurityGroup[]): string | undefined {
  const out = allowed(from, to, "egress", groups);
  const into = allowed(to, from, "ingress", groups);
  if (!out || !into) return undefined;
  if (out === everything) return into.map(portsOf).join(", ") || "all ports";
  return (into === everything ? out : into).map(portsOf).join(", ");
}

const everything: Rule[] = [];

/** allowed returns the rules by which a pod may have connections with another one, everything if none is needed, and undefined if no rule allows any. */
function allowed(of: Pod, other: Pod, direction: Rule["direction"], groups: SecurityGroup[]): Rule[] | undefined {
  const mine = groupsOf(of, groups);
  if (!mine.some((g) => g.restricts?.includes(direction))) return everything;
  const theirs = new Set(groupsOf(other, groups).map((g) => g.name));
  const rules = mine
    .flatMap((g) => g.rules ?? [])
    .filter((r) => r.direction === direction && (!r.peers?.length || r.peers.some((p) => isPeer(p, other, theirs))));
  return rules.length > 0 ? rules : undefined;
}

function isPeer(peer: NonNullable<Rule["peers"]>[number], pod: Pod, groups: Set<string>): boolean {
  if (peer.group !== undefined) return groups.has(peer.group);
  const addresses = (pod.status.interfaces ?? []).map((i) => i.address);
  return addresses.some((a) => inBlock(a, peer.cidr ?? "") && !peer.except?.some((e) => inBlock(a, e)));
}

const number = (address: string) => address.split(".").reduce((n, part) => n * 256 + Number(part), 0);

/** inBlock says whether an IPv4 address is in a block of addresses. */
export function inBlock(address: string, block: string): boolean {
  const [base = "", bits = "32"] = block.split("/");
  if (base.includes(":")) return false;
  const size = 2 ** (32 - Number(bits));
  return Math.floor(number(address) / size) === Math.floor(number(base) / size);
}

function portsOf(r: Rule): string {
  const protocol = r.protocol === "any" || !r.protocol ? "all" : r.protocol;
  if (!r.ports?.length) return protocol === "all" ? "all ports" : `all of ${protocol}`;
  return `${protocol} ${r.ports.map((p) => (p.endPort ? `${p.port}–${p.endPort}` : p.port)).join(", ")}`;
}

/** Traffic is what a pod receives and sends, in bytes per second. */
export interface Traffic {
  received: number;
  sent: number;
}

const SERIES = /^husk_pod_network_(receive|transmit)_bytes_total\{[^}]*\bpod="((?:[^"\\]|\\.)*)"[^}]*\} ([0-9.e+]+)/gm;

/** counters reads the bytes of each pod from the tenant's metrics, in the text format of Prometheus. */
export function counters(metrics: string): Map<string, Traffic> {
  const all = new Map<string, Traffic>();
  for (const [, direction, pod = "", value] of metrics.matchAll(SERIES)) {
    const t = all.get(pod) ?? { received: 0, sent: 0 };
    t[direction === "receive" ? "received" : "sent"] = Number(value);
    all.set(pod, t);
  }
  return all;
}

/** rates returns the traffic between two readings. A pod that has started again begins at zero. */
export function rates(before: Map<string, Traffic>, now: Map<string, Traffic>, seconds: number): Map<string, Traffic> {
  const all = new Map<string, Traffic>();
  for (const [pod, n] of now) {
    const b = before.get(pod);
    if (b && n.received >= b.received && n.sent >= b.sent && seconds > 0)
      all.set(pod, { received: (n.received - b.received) / seconds, sent: (n.sent - b.sent) / seconds });
  }
  return all;
}
