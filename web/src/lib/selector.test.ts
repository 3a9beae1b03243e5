// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import { selects } from "./selector";

test.each([
  ["app=web", { app: "web" }, true],
  ["app=web", { app: "db" }, false],
  ["app==web,tier!=test", { app: "web" }, true],
  ["app=web,tier!=test", { app: "web", tier: "test" }, false],
  ["tier in (front, back)", { tier: "back" }, true],
  ["tier in (front,back),app", { tier: "back" }, false],
  ["tier notin (test)", {}, true],
  ["tier notin (test)", { tier: "test" }, false],
  ["!old", { app: "web" }, true],
  ["!old", { old: "" }, false],
  ["app", { app: "" }, true],
  ["", { app: "web" }, false],
] as [string, Record<string, string>, boolean][])("%s selects %o: %s", (selector, labels, expected) => {
  expect(selects(selector, labels)).toBe(expected);
});
