// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import { allContainers, optionsOf } from "./containers";

const resources = { cpuMillis: 500, memoryMiB: 256 };

test("init containers come first, and sidecars are named", () => {
  const all = allContainers({
    resources,
    initContainers: [
      { name: "migrate", image: "a" },
      { name: "proxy", image: "b", restartPolicy: "Always" },
    ],
    containers: [{ name: "web", image: "c" }],
  });
  expect(all.map((c) => [c.name, c.kind])).toEqual([
    ["migrate", "init"],
    ["proxy", "sidecar"],
    ["web", undefined],
  ]);
});

test("only options that are set are shown", () => {
  expect(optionsOf({ name: "a", image: "b" })).toEqual([]);
  expect(
    optionsOf({
      name: "a",
      image: "b",
      limits: { memoryMiB: 64 },
      livenessProbe: { httpGet: { port: 80, path: "/healthz" }, initialDelaySeconds: 5 },
      readinessProbe: { grpc: { port: 9000, service: "web" }, periodSeconds: 1 },
      startupProbe: { tcpPort: 80 },
      preStop: { sleepSeconds: 5 },
      postStart: { exec: ["touch", "/a"] },
      capabilitiesDrop: ["ALL"],
      readOnlyRoot: true,
    }),
  ).toEqual([
    ["Limits", "64 MiB"],
    ["Startup probe", "TCP port 80, every 10 s, timeout 1 s, fails after 3 failures"],
    ["Readiness probe", "gRPC port 9000 web, every 1 s, timeout 1 s, fails after 3 failures"],
    ["Liveness probe", "GET http port 80 /healthz, every 10 s, after 5 s, timeout 1 s, fails after 3 failures"],
    ["After its start", "touch /a"],
    ["Before its stop", "sleep 5 s"],
    ["Dropped capabilities", "ALL"],
    ["Read-only root", "yes"],
  ]);
});
