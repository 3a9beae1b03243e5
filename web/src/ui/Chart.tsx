import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { isDark } from "./theme";

export interface Series {
  name: string;
  values: (number | null)[];
}

interface Props {
  label: string; // for who cannot see it
  times: number[]; // seconds since 1970
  series: Series[];
  show: (n: number) => string;
  bars?: boolean;
  max?: number; // what the axis reaches at least
}

const COLOURS = { light: ["#0b6b57", "#9a5b00", "#1b5fa8", "#8a2f6d"], dark: ["#62cdb1", "#f1b75b", "#86b8f2", "#e39ac9"] };
const HEIGHT = 190;

/** Chart draws series over time. */
export function Chart({ label, times, series, show, bars, max }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const names = series.map((s) => s.name).join();
  const data = [times, ...series.map((s) => s.values)] as uPlot.AlignedData;
  const newest = useRef(data);
  newest.current = data;

  // biome-ignore lint/correctness/useExhaustiveDependencies: the plot is made anew only when what it draws is called otherwise
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
        scales: { y: { range: (_, __, most) => [0, Math.max(most ?? 0, max ?? 0) * 1.05 || 1] } },
        axes: [axis, { ...axis, size: 78, values: (_, ticks) => ticks.map(show) }],
        series: [
          {},
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
  }, [names, bars, max, times.length === 1]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: data is new with each of these
  useEffect(() => plot.current?.setData(newest.current), [times, series]);
  const last = series.map((s) => `${s.name} ${show(s.values.findLast((v) => v !== null) ?? 0)}`).join(", ");
  return <div className="chart" ref={host} role="img" aria-label={`${label}: ${last}`} />;
}
