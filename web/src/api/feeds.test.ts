// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import { unusedFeeds } from "./feeds";

function feeds(used: boolean[]): Map<string, { used: boolean }> {
  return new Map(used.map((u, i) => [`feed-${i}`, { used: u }]));
}

test("the oldest feeds above the limit are dropped", () => {
  expect(unusedFeeds(feeds([false, false, false, false]), 2)).toEqual(["feed-0", "feed-1"]);
  expect(unusedFeeds(feeds([false, false]), 2)).toEqual([]);
});

test("a feed that a page still uses is never dropped", () => {
  expect(unusedFeeds(feeds([true, false, true, true, false]), 2)).toEqual(["feed-1", "feed-4"]);
  expect(unusedFeeds(feeds([true, true, true, true]), 2)).toEqual([]);
});
