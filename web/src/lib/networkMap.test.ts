// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import type { Address, Network, Pod, Service } from "../api/client";
import { counters, draw, rates, reaches, SHOWN } from "./networkMap";

const network = (name: string, isolated = false) => ({ id: name, name, isolated, cidr: "10.0.0.0/24" }) as Network;
const pod = (name: string, ...networks: string[]) =>
  ({
    id: name,
    name,
    status: { phase: "Running", interfaces: networks.map((n, i) => ({ network: n, address: `10.${i}.0.${name.length}` })) },
  }) as Pod;

test("pods are inside the boxes of their networks, and nothing overlaps", () => {
  const networks = [network("front"), network("back"), network("empty")];
  const pods = [pod("a", "front"), pod("bb", "front", "back"), pod("ccc", "back"), pod("dddd", "back"), pod("eeeee", "back")];
  const service = { id: "web", status: { endpoints: [{ podId: "bb", address: "10.0.0.2", ready: true }] } } as Service;
  const address = { id: "at", target: { serviceId: "web" } } as Address;
  const p = draw(networks, pods, [service], [address]);
  expect(p.networks.map((n) => n.pods.map((b) => b.pod.name))).toEqual([["a", "bb"], ["bb", "ccc", "dddd", "eeeee"], []]);
  for (const n of p.networks)
    for (const b of n.pods) {
      expect(b.x).toBeGreaterThan(n.x);
      expect(b.y).toBeGreaterThan(n.y);
      expect(b.x + b.width).toBeLessThan(n.x + n.width);
      expect(b.y + b.height).toBeLessThan(n.y + n.height);
    }
  const all = [p.outside, ...p.services, ...p.networks].filter((b) => b !== undefined);
  for (const a of all)
    for (const b of all)
      if (a !== b) expect(a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y).toBe(true);
  for (const b of all) expect(b.x + b.width <= p.width && b.y + b.height <= p.height).toBe(true);
  expect(p.edges.map((e) => e.id)).toEqual(["web bb front", "at web"]);
});

test("more pods than can be read are counted", () => {
  const many = Array.from({ length: SHOWN + 3 }, (_, i) => pod(`p${i}`, "front"));
  expect(draw([network("front")], many, [], []).hidden).toBe(3);
});

test("a pod reaches others in its network, and through routers", () => {
  const networks = [network("front"), network("back"), network("vault", true)];
  const [front, back, both, vault] = [pod("f", "front"), pod("b", "back"), pod("fv", "front", "vault"), pod("v", "vault")] as const;
  expect(reaches(front, back, networks)).toBe(true);
  expect(reaches(front, vault, networks)).toBe(false);
  expect(reaches(both, vault, networks)).toBe(true);
  expect(reaches(vault, both, networks)).toBe(true);
  expect(reaches(vault, front, networks)).toBe(false);
});

test("traffic is read from metrics", () => {
  const text = (a: number, b: number) =>
    `# HELP husk_pod_network_receive_bytes_total Bytes.\nhusk_pod_network_receive_bytes_total{tenant="t",pod="web"} ${a}\nhusk_pod_network_transmit_bytes_total{tenant="t",pod="web"} ${b}\nhusk_pod_cpu{pod="web"} 7\n`;
  const [before, now] = [counters(text(1000, 1e6)), counters(text(3000, 1.5e6))];
  expect(now.get("web")).toEqual({ received: 3000, sent: 1_500_000 });
  expect(rates(before, now, 10).get("web")).toEqual({ received: 200, sent: 50_000 });
  expect(rates(now, before, 10).size).toBe(0);
});
