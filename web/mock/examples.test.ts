// SPDX-License-Identifier: Apache-2.0

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { answerOf, type Contract, example, operationOf } from "./examples.ts";

const contract = parse(readFileSync(new URL("../../openapi/openapi.yaml", import.meta.url), "utf8"), { maxAliasCount: -1 }) as Contract;

// WebSockets and redirects have no content.
const WITHOUT_CONTENT = /\/(exec|attach|console|port-forward|copy-in|copy-out|authorize)$/;

test.each(Object.keys(contract.paths).filter((path) => contract.paths[path]?.get && !WITHOUT_CONTENT.test(path)))(
  "GET %s has an example",
  (path) => {
    const answer = answerOf(contract, "GET", path.replaceAll(/\{\w+\}/g, "0d7b5f3c-9e84-4126-a3d8-c6f1b2e09457"));
    expect(answer.status).toBe(200);
    expect(answer.body).toBeDefined();
  },
);

test("A list has the object that its schema has as an example", () => {
  const pods = answerOf(contract, "GET", "/v1/pods").body as { items: { id: string; name: string; spec: object }[] };
  expect(pods.items[0]?.spec).toBeDefined();
  const one = answerOf(contract, "GET", `/v1/pods/${pods.items[0]?.id}`).body as { name: string };
  expect(one.name).toBe(pods.items[0]?.name);
});

test("A path that the contract does not have is not found", () => {
  expect(operationOf(contract, "/v1/nothing")).toBeUndefined();
  expect(answerOf(contract, "GET", "/v1/nothing").status).toBe(404);
});

test("Values without an example follow from their schema", () => {
  const schema = {
    type: "object",
    properties: {
      a: { type: "integer", minimum: 3 },
      b: { type: "array", items: { enum: ["x", "y"] } },
      c: { type: "string", format: "uuid" },
    },
  };
  expect(example(contract, schema)).toMatchObject({ a: 3, b: ["x"], c: expect.stringMatching(/^[0-9a-f-]{36}$/) });
});
