import { describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import type { PodCreate } from "../../api/client";
import { document, join, order, quoted, runLine, split } from "./twin";

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

test("a document says the same as the order it was made of", () => {
  const back = order(parse(stringify(document(web))));
  expect(back).toEqual({ ...web, spec: { ...web.spec, restartPolicy: undefined } });
});

test("a line of husk run says what the order says", () => {
  expect(runLine(web).text).toBe(
    "husk run -d --name web --cpus 0.5 -m 256m --restart always -l app=web -e TZ=UTC -e EMPTY= " +
      "-v 92994fef-6455-4e73-a447-69fc2fe37846:/data:ro registry.example.com/nginx:1.22 -c 'it'\\''s on'",
  );
});

test("where husk run cannot say it, the line says why", () => {
  const two = { ...web, spec: { ...web.spec, containers: [...web.spec.containers, { name: "b", image: "c" }] } };
  expect(runLine(two)).toEqual({ why: "it has several containers" });
});

describe("documents that are none", () => {
  test.each([
    ["[]", "is an object"],
    ["kind: Volume\nspec: {}", "and not Pod"],
    ["apiVersion: v1\nspec: {}", "and not husk/v1"],
    ["name: a", "spec is missing"],
    ["name: a\nspec: {containers: x}", "spec.containers"],
    ["name: a\nspec: {containers: [{}]}", "spec.resources"],
    ["nome: a\nspec: {}", "no field nome"],
  ])("%s", (text, why) => expect(() => order(parse(text))).toThrow(why));
});

test("words come back as they were", () => {
  const words = ["sh", "-c", "echo \"a  b\" 'c' $HOME \\", "", "ümlaut", "a;b"];
  expect(split(join(words))).toEqual(words);
  expect(split(String.raw`a\ b  "c \"d\"" 'e"f'`)).toEqual(["a b", 'c "d"', 'e"f']);
  expect(quoted("$(rm -rf /)")).toBe("'$(rm -rf /)'");
});
