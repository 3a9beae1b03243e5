// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import type { Address, Network, Pod, SecurityGroup, Service } from "../api/client";
import { counters, draw, inBlock, mayConnect, rates, reaches, SHOWN } from "./networkMap";

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

test("security groups say who may connect to whom", () => {
  const labelled = (name: string, app: string, ...named: string[]) =>
    ({ ...pod(name, "front"), labels: { app }, spec: { securityGroups: named } }) as unknown as Pod;
  const [web, db, job] = [labelled("web", "web"), labelled("db", "db"), labelled("job", "job", "jobs")];
  const group = (name: string, selector: string, restricts: string[], rules: object[]) =>
    ({ name, selector, restricts, rules }) as unknown as SecurityGroup;
  const groups = [
    group("web", "app=web", [], []),
    group(
      "db",
      "app=db",
      ["ingress"],
      [{ direction: "ingress", protocol: "TCP", ports: [{ port: 5432 }, { port: 8000, endPort: 8010 }], peers: [{ group: "web" }] }],
    ),
    group("jobs", "", ["egress"], [{ direction: "egress", peers: [{ cidr: "10.0.0.0/30" }] }]),
  ];
  expect(mayConnect(web, db, [])).toBe("all ports");
  expect(mayConnect(web, db, groups)).toBe("TCP 5432, 8000–8010");
  expect(mayConnect(job, db, groups)).toBeUndefined(); // it is in no group that a rule names
  expect(mayConnect(db, web, groups)).toBe("all ports");
  expect(mayConnect(job, web, groups)).toBe("all ports"); // 10.0.0.3 is in the block
  expect(mayConnect(web, job, groups)).toBe("all ports");
});

test("blocks contain addresses", () => {
  expect(inBlock("10.1.2.3", "10.1.0.0/16")).toBe(true);
  expect(inBlock("10.2.2.3", "10.1.0.0/16")).toBe(false);
  expect(inBlock("10.1.2.3", "0.0.0.0/0")).toBe(true);
  expect(inBlock("10.1.2.3", "fd00::/8")).toBe(false);
});
