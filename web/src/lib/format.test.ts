// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import { ago, bytes, cores, duration, hours, money, percent, plural } from "./format";

test("sizes are shown in the largest unit that fits", () => {
  expect([0, 1023, 1024, 1536, 157286400, 2 ** 40, -2048].map(bytes)).toEqual([
    "0 B",
    "1023 B",
    "1 KiB",
    "1.5 KiB",
    "150 MiB",
    "1 TiB",
    "−2 KiB",
  ]);
});

test("durations have at most two units", () => {
  expect([0.0004, 0.35, 2.04, 59, 60, 3700, 90000].map(duration)).toEqual([
    "0 ms",
    "350 ms",
    "2 s",
    "59 s",
    "1 min",
    "1 h 1 min",
    "1 d 1 h",
  ]);
});

test("times since a moment have one unit", () => {
  const now = Date.parse("2026-03-02T12:00:00Z");
  expect(["2026-03-02T12:00:00Z", "2026-03-02T11:59:18Z", "2026-03-01T11:00:00Z"].map((t) => ago(t, now))).toEqual([
    "now",
    "42 s ago",
    "1 d ago",
  ]);
});

test("small values are not shown as zero", () => {
  expect([hours(0), hours(18), hours(7_200), cores(500), percent(0.034), plural(1, "pod"), plural(2, "pod")]).toEqual([
    "0",
    "0.005",
    "2",
    "0.5",
    "3.4 %",
    "1 pod",
    "2 pods",
  ]);
  expect(money(0.0123, "EUR")).toBe("€0.0123");
});
