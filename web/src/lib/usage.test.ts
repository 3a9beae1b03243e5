// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import type { Schemas } from "../api/client";
import { fromHistory, fromSamples, joined } from "./usage";

const at = (seconds: number) => new Date(1_772_442_000_000 + seconds * 1000).toISOString();

const sample = (seconds: number): Schemas["PodStats"] => ({
  at: at(seconds),
  bootId: "b",
  pod: {
    cpus: 1,
    cpuMicros: seconds * 250_000,
    memoryTotalBytes: 1000,
    memoryAvailableBytes: 400,
    memoryCachedBytes: 100,
    rxBytes: seconds * 10,
    txBytes: seconds * 20,
    rxPackets: 0,
    txPackets: 0,
    cpuPressurePercent: 50,
  },
  containers: [],
  disks: [
    { kind: "image", name: "a", readBytes: seconds, writeBytes: 0, reads: 0, writes: 0 },
    { kind: "volume", name: "b", readBytes: seconds * 2, writeBytes: seconds * 4, reads: 0, writes: 0 },
  ],
});

const point = (seconds: number): Schemas["StatsPoint"] => ({
  at: at(seconds),
  cpuMillis: 250,
  rxBytesPerSecond: 10,
  txBytesPerSecond: 20,
  readBytesPerSecond: 3,
  writeBytesPerSecond: 4,
});

test("counters become rates", () => {
  const [p, ...rest] = fromSamples([sample(0), sample(2)]);
  expect(rest).toEqual([]);
  expect(p).toMatchObject({
    cpu: 0.25,
    used: 600,
    cache: 100,
    received: 10,
    sent: 20,
    read: 3,
    written: 4,
    cpuPressure: 0.5,
    diskPressure: null,
  });
  expect(fromSamples([sample(0)])).toEqual([]);
});

test("what is not known is not zero", () => {
  expect(fromHistory([point(60)])[0]).toMatchObject({ cpu: 0.25, used: null, cpuPressure: null });
});

test("the history fills the time without live points, and gaps stay gaps", () => {
  const history = fromHistory([0, 60, 600, 660, 720, 780, 840].map(point));
  const live = [...fromSamples([sample(650), sample(652)]), ...fromSamples([sample(848), sample(850)])];
  const all = joined(history, live);
  const start = history[0]?.time ?? 0;
  expect(all.map((p) => p.time - start)).toEqual([0, 60, 61, 600, 652, 720, 780, 840, 850]);
  expect(all[2]?.cpu).toBeNull();
  expect(joined([], [])).toEqual([]);
});
