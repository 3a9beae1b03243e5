// SPDX-License-Identifier: Apache-2.0

import type { Schemas } from "../api/client";

type Stats = Schemas["PodStats"];
type History = Schemas["StatsPoint"];

/** Point is what a pod used until a time: rates per second, levels in bytes, and shares of one. null is not known. */
export interface Point {
  time: number; // seconds since 1970
  cpu: number | null; // cores
  used: number | null;
  cache: number | null;
  received: number | null;
  sent: number | null;
  read: number | null;
  written: number | null;
  cpuPressure: number | null;
  memoryPressure: number | null;
  diskPressure: number | null;
}

const share = (percent: number | undefined) => (percent === undefined ? null : percent / 100);

/** fromHistory converts what a pod's node has recorded. */
export const fromHistory = (points: History[]): Point[] =>
  points.map((p) => ({
    time: Date.parse(p.at) / 1000,
    cpu: p.cpuMillis / 1000,
    used: p.memoryUsedBytes ?? null,
    cache: p.memoryCachedBytes ?? null,
    received: p.rxBytesPerSecond,
    sent: p.txBytesPerSecond,
    read: p.readBytesPerSecond,
    written: p.writeBytesPerSecond,
    cpuPressure: share(p.cpuPressurePercent),
    memoryPressure: share(p.memoryPressurePercent),
    diskPressure: share(p.ioPressurePercent),
  }));

/** fromSamples converts counters. Each point is the mean since the previous sample. */
export function fromSamples(samples: Stats[]): Point[] {
  const disks = (s: Stats, of: (d: Stats["disks"][number]) => number) => s.disks.reduce((sum, d) => sum + of(d), 0);
  return samples.slice(1).map((s, i) => {
    const before = samples[i] as Stats;
    const seconds = Math.max(0.001, (Date.parse(s.at) - Date.parse(before.at)) / 1000);
    const rate = (of: (s: Stats) => number) => Math.max(0, of(s) - of(before)) / seconds;
    return {
      time: Date.parse(s.at) / 1000,
      cpu: rate((s) => s.pod.cpuMicros / 1e6),
      used: s.pod.memoryTotalBytes - s.pod.memoryAvailableBytes,
      cache: s.pod.memoryCachedBytes,
      received: rate((s) => s.pod.rxBytes),
      sent: rate((s) => s.pod.txBytes),
      read: rate((s) => disks(s, (d) => d.readBytes)),
      written: rate((s) => disks(s, (d) => d.writeBytes)),
      cpuPressure: share(s.pod.cpuPressurePercent),
      memoryPressure: share(s.pod.memoryPressurePercent),
      diskPressure: share(s.pod.ioPressurePercent),
    };
  });
}

const APART = 150; // seconds between two points with nothing known in between: more than two minutes of the history

const MINUTE = 60; // seconds between two points of the history

/** joined takes the history of the minutes without live points, and puts an unknown point where the line must not continue. */
export function joined(history: Point[], live: Point[]): Point[] {
  const drawn = new Set(live.map((p) => Math.floor(p.time / MINUTE)));
  const others = history.filter((p) => !drawn.has(Math.floor(p.time / MINUTE) - 1));
  const all = [...others, ...live].sort((a, b) => a.time - b.time);
  return all.flatMap((p, i) => {
    const before = all[i - 1];
    if (!before || p.time - before.time < APART) return [p];
    const nothing = Object.fromEntries(Object.keys(p).map((k) => [k, null])) as unknown as Point;
    return [{ ...nothing, time: before.time + 1 }, p];
  });
}
