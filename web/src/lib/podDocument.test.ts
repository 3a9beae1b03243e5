// SPDX-License-Identifier: Apache-2.0

import { describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import type { PodCreate } from "../api/client";
import { dropEmpty, join, parseDocument, quoted, runLine, split, toDocument } from "./podDocument";

const web: PodCreate = {
  name: "web",
  labels: { app: "web" },
  spec: {
    resources: { cpuMillis: 500, memoryMiB: 256 },
    restartPolicy: "Always",
    volumes: [{ name: "data", volumeId: "92994fef-6455-4e73-a447-69fc2fe37846" }],
    containers: [
      {
        name: "nginx",
        image: "registry.example.com/nginx:1.22",
        args: ["-c", "it's on"],
        env: [
          { name: "TZ", value: "UTC" },
          { name: "EMPTY", value: "" },
        ],
        volumeMounts: [{ volume: "data", mountPath: "/data", readOnly: true }],
      },
    ],
  },
};

test("a document describes the same pod as the form", () => {
  const back = parseDocument(parse(stringify(toDocument(web))));
  expect(back).toEqual({ ...web, spec: { ...web.spec, restartPolicy: undefined } });
});

test("a husk run command creates the same pod as the form", () => {
  expect(runLine(web).text).toBe(
    "husk run -d --name web --cpus 0.5 -m 256m --restart always -l app=web -e TZ=UTC -e EMPTY= " +
      "-v 92994fef-6455-4e73-a447-69fc2fe37846:/data:ro registry.example.com/nginx:1.22 -c 'it'\\''s on'",
  );
});

test("a husk run command creates a privileged container", () => {
  const privileged = { ...web, spec: { ...web.spec, containers: web.spec.containers.map((c) => ({ ...c, privileged: true })) } };
  expect(runLine(privileged).text).toContain(" --privileged ");
});

test("a husk run command mounts empty directories in memory", () => {
  const withEmpty = (emptyDir: { memory?: boolean; sizeMiB?: number }) => ({
    ...web,
    spec: {
      ...web.spec,
      volumes: [{ name: "data", emptyDir }],
      containers: [{ ...c, volumeMounts: [{ volume: "data", mountPath: "/run" }] }],
    },
  });
  const [c = { name: "", image: "" }] = web.spec.containers;
  expect(runLine(withEmpty({ memory: true, sizeMiB: 64 })).text).toContain(" --tmpfs /run:size=64m ");
  expect(dropEmpty({ volumes: [{ name: "a", emptyDir: {} }], labels: {} })).toEqual({ volumes: [{ name: "a", emptyDir: {} }] });
  const names = {
    hostname: "db",
    hostAliases: [{ ip: "192.0.2.1", hostnames: ["a", "b"] }],
    dnsPolicy: "None" as const,
    dnsConfig: { nameservers: ["192.0.2.53"], searches: ["example.com"], options: [{ name: "ndots", value: "2" }] },
    sysctls: [{ name: "net.core.somaxconn", value: "64" }],
  };
  expect(runLine({ ...web, spec: { ...web.spec, ...names } }).text).toContain(
    " --hostname db --add-host a:192.0.2.1 --add-host b:192.0.2.1 --dns 192.0.2.53 --dns-search example.com --dns-option ndots:2 --sysctl net.core.somaxconn=64 ",
  );
  expect(runLine({ ...web, spec: { ...web.spec, ephemeralStorage: "memory" } }).text).toContain(" --ephemeral-storage memory ");
  expect(runLine({ ...web, spec: { ...web.spec, ephemeralStorageGiB: 20 } }).text).toContain(" --ephemeral-storage 20g ");
  expect(runLine({ ...web, spec: { ...web.spec, shmSizeMiB: 64 } }).text).toContain(" --shm-size 64m ");
  const retried = {
    ...web.spec,
    restartPolicy: "OnFailure" as const,
    containers: web.spec.containers.map((c) => ({ ...c, maxRestarts: 3, initProcess: true })),
  };
  expect(runLine({ ...web, spec: retried }).text).toMatch(/ --restart on-failure:3 .*--init /);
  expect(runLine(withEmpty({})).why).toBe("it has an empty directory");
});

test("if husk run cannot create a pod, the form shows the reason", () => {
  const two = { ...web, spec: { ...web.spec, containers: [...web.spec.containers, { name: "b", image: "c" }] } };
  expect(runLine(two)).toEqual({ why: "it has more than one container" });
});

describe("invalid documents", () => {
  test.each([
    ["[]", "must be an object"],
    ["kind: Volume\nspec: {}", "must be Pod"],
    ["apiVersion: v1\nspec: {}", "must be husk/v1"],
    ["name: a", "spec is missing"],
    ["name: a\nspec: {containers: x}", "spec.containers"],
    ["name: a\nspec: {containers: [{}]}", "spec.resources"],
    ["nome: a\nspec: {}", "unknown field nome"],
  ])("%s", (text, why) => expect(() => parseDocument(parse(text))).toThrow(why));
});

test("splitting a joined command line returns the same words", () => {
  const words = ["sh", "-c", "echo \"a  b\" 'c' $HOME \\", "", "ümlaut", "a;b"];
  expect(split(join(words))).toEqual(words);
  expect(split(String.raw`a\ b  "c \"d\"" 'e"f'`)).toEqual(["a b", 'c "d"', 'e"f']);
  expect(quoted("$(rm -rf /)")).toBe("'$(rm -rf /)'");
});
