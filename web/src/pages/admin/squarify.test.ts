// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import { squarify } from "./squarify";

test("boxes have their share of the area, stay inside and do not overlap", () => {
  const sizes = [60, 30, 30, 20, 10, 5, 5, 1, 1, 0];
  const boxes = squarify(sizes, (s) => s, 200, 300, 100);
  expect(boxes).toHaveLength(9);
  for (const b of boxes) {
    expect(b.width * b.height).toBeCloseTo((b.of / 200) * 30_000, 3);
    expect(b.x >= 0 && b.y >= 0 && b.x + b.width <= 300.001 && b.y + b.height <= 100.001).toBe(true);
  }
  for (const [i, a] of boxes.entries())
    for (const b of boxes.slice(i + 1)) {
      const [w, h] = [
        Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x),
        Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y),
      ];
      expect(w < 0.001 || h < 0.001).toBe(true);
    }
});

test("no items give no boxes", () => expect(squarify([], (s: number) => s, 0, 100, 100)).toEqual([]));
