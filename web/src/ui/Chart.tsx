// SPDX-License-Identifier: Apache-2.0

import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { localTime, zone } from "../lib/format";
import styles from "./Chart.module.css";
import { isDark } from "./theme";

export interface Series {
  name: string;
  values: (number | null)[];
}

interface Props {
  label: string; // for screen readers
  times: number[]; // seconds since 1970
  series: Series[];
  show: (n: number) => string;
  bars?: boolean;
  max?: number; // the axis ends at this value or above it
  limit?: number; // a dashed line
  span?: [from: number, to: number]; // the time range; by default that of the times
  binary?: boolean; // ticks at powers of two, for bytes
}

const POWERS = Array.from({ length: 60 }, (_, i) => 2 ** i);

/** clock formats ticks with the precision that their distance needs. */
const clock = (ticks: number[]) => {
  const distance = (ticks[1] ?? 0) - (ticks[0] ?? 0);
  return ticks.map((t) => {
    const at = new Date(t * 1000);
    return distance >= 86_400
      ? at.toLocaleDateString("en-GB", { day: "numeric", month: "short" })
      : at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: distance < 60 ? "2-digit" : undefined });
  });
};

/** showLatest lets the legend show the latest values while the pointer is not on the chart. */
function showLatest(plot: uPlot) {
  if (plot.cursor.idx === null || plot.cursor.idx === undefined) plot.setLegend({ idx: (plot.data[0]?.length ?? 1) - 1 }, false);
}

const COLOURS = { light: ["#0b6b57", "#9a5b00", "#1b5fa8", "#8a2f6d"], dark: ["#62cdb1", "#f1b75b", "#86b8f2", "#e39ac9"] };
const HEIGHT = 190;
const SHORTEST = 60; // seconds; with one sample, the axis is not that of years

/** Chart draws series over time. */
export function Chart({ label, times, series, show, bars, max, limit, span, binary }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const names = series.map((s) => s.name).join();
  const data = [times, ...series.map((s) => s.values), ...(limit === undefined ? [] : [times.map(() => limit)])] as uPlot.AlignedData;
  const newest = useRef(data);
  newest.current = data;

  // biome-ignore lint/correctness/useExhaustiveDependencies: the plot is created again only when its options change
  useEffect(() => {
    const into = host.current;
    if (!into) return;
    const dark = isDark();
    const colours = dark ? COLOURS.dark : COLOURS.light;
    const axis = { stroke: dark ? "#a3a89c" : "#5b5e57", grid: { stroke: dark ? "#2c302a" : "#e6e7e1", width: 1 }, ticks: { show: false } };
    const made = new uPlot(
      {
        width: into.clientWidth || 300,
        height: HEIGHT,
        cursor: { y: false },
        hooks: { setCursor: [showLatest], setData: [showLatest], ready: [showLatest] },
        scales: {
          x: { range: (_, from, to) => span ?? [Math.min(from ?? 0, (to ?? 0) - SHORTEST), to ?? 0] },
          y: { range: (_, __, most) => [0, Math.max(most ?? 0, max ?? 0) * 1.05 || 1] },
        },
        axes: [
          { ...axis, values: (_, ticks) => clock(ticks) },
          { ...axis, ...(binary ? { incrs: POWERS } : {}), size: 78, values: (_, ticks) => ticks.map(show) },
        ],
        series: [
          {
            label: `Time (${zone()})`,
            value: (_, t) => (t === null || t === undefined ? "–" : localTime(new Date(t * 1000).toISOString())),
          },
          ...series.map((s, i) => ({
            label: s.name,
            stroke: colours[i % colours.length],
            fill: series.length === 1 || bars ? `${colours[i % colours.length]}33` : undefined,
            width: 2,
            spanGaps: false,
            points: { show: times.length === 1 },
            paths: bars ? uPlot.paths.bars?.({ size: [0.7, 60], align: 1 }) : undefined,
            value: (_: uPlot, v: number | null) => (v === null || v === undefined ? "–" : show(v)),
          })),
          ...(limit === undefined
            ? []
            : [{ label: "limit", stroke: axis.stroke, width: 1, dash: [6, 4], points: { show: false }, value: () => show(limit) }]),
        ],
      },
      newest.current,
      into,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: into.clientWidth, height: HEIGHT }));
    observer.observe(into);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [names, bars, max, limit, times.length === 1]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the data changes only with times and series
  useEffect(() => plot.current?.setData(newest.current), [times, series, limit]);
  const last = series.map((s) => `${s.name} ${show(s.values.findLast((v) => v !== null) ?? 0)}`).join(", ");
  return <div className={styles.chart} ref={host} role="img" aria-label={`${label}: ${last}`} />;
}
