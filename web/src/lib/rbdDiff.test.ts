// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import { isDiff, whole } from "./rbdDiff";

const through = (text: string[]) => new Response(new Blob(text).stream().pipeThrough(whole())).text();

test("the content of a volume is known by its beginning", async () => {
  expect(await isDiff(new Blob(["rbd diff v1\ns"]))).toBe(true);
  expect(await isDiff(new Blob(["QFI\xfb"]))).toBe(false);
  expect(await isDiff(new Blob([]))).toBe(false);
});

test("a download is complete only with its end", async () => {
  expect(await through(["rbd diff v1\n", "w...", "e"])).toBe("rbd diff v1\nw...e");
  await expect(through(["rbd diff v1\n", "w..."])).rejects.toThrow("incomplete");
  await expect(through([])).rejects.toThrow("incomplete");
});
