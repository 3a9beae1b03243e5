// SPDX-License-Identifier: Apache-2.0

// Formats numbers and times for people.

const trim = (n: number, digits: number) => String(Number(n.toFixed(digits)));

/** cores formats thousandths of a core as cores, such as 500 as 0.5. */
export const cores = (millis: number) => trim(millis / 1000, 2);

/** coresOf adds the noun, such as 0.5 cores. */
export const coresOf = (millis: number) => `${cores(millis)} ${millis === 1000 ? "core" : "cores"}`;

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** bytes formats a size with the largest unit that fits. */
export function bytes(n: number): string {
  let unit = 0;
  let rest = Math.abs(n);
  for (; rest >= 1024 && unit < UNITS.length - 1; unit++) rest /= 1024;
  const digits = unit === 0 || rest >= 100 ? 0 : 1;
  return `${n < 0 ? "−" : ""}${trim(rest, digits)} ${UNITS[unit]}`;
}

export const mebibytes = (n: number) => bytes(n * 2 ** 20);
export const gibibytes = (n: number) => bytes(n * 2 ** 30);
export const perSecond = (n: number) => `${bytes(n)}/s`;
export const count = (n: number) => n.toLocaleString("en");
export const percent = (share: number) => `${trim(share * 100, share < 0.1 ? 1 : 0)} %`;

/** plural formats a number with a noun: 1 pod, 2 pods. */
export const plural = (n: number, noun: string, many = `${noun}s`) => `${count(n)} ${n === 1 ? noun : many}`;

const STEPS: [number, string][] = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
  [1, "s"],
];

/** duration formats seconds with at most two units. */
export function duration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${trim(seconds, 1)} s`;
  const at = STEPS.findIndex(([size]) => seconds >= size);
  const [size, unit] = STEPS[at] ?? [1, "s"];
  const whole = Math.floor(seconds / size);
  const next = STEPS[at + 1];
  const rest = next ? Math.floor((seconds - whole * size) / next[0]) : 0;
  return rest > 0 && next ? `${whole} ${unit} ${rest} ${next[1]}` : `${whole} ${unit}`;
}

/** hours converts metered seconds to the billed unit, such as core-hours or GiB-hours. */
export const hours = (seconds: number) => {
  const h = seconds / 3600;
  return h !== 0 && Math.abs(h) < 0.01 ? trim(h, 5) : h.toLocaleString("en", { maximumFractionDigits: 2 });
};

export const money = (amount: number, currency: string) =>
  new Intl.NumberFormat("en", { style: "currency", currency, maximumFractionDigits: amount !== 0 && Math.abs(amount) < 1 ? 4 : 2 }).format(
    amount,
  );

// All times are in the browser's time zone, and say so: in the text, or in the heading of their column.
const DATE = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const ZONE = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" });

/** zone is the short name of the time zone at a moment, such as UTC or GMT+2. */
export const zone = (at = new Date()) => ZONE.formatToParts(at).find((p) => p.type === "timeZoneName")?.value ?? "local time";

/** localTime is a moment without its time zone, for a column whose heading has it. */
export const localTime = (iso: string) => DATE.format(new Date(iso));

export const dateTime = (iso: string) => `${localTime(iso)} ${zone(new Date(iso))}`;

/** preciseTime is the time of day with milliseconds, without its time zone. */
export const preciseTime = (iso: string) => {
  const at = new Date(iso);
  return `${at.toLocaleTimeString("en-GB")}.${String(at.getMilliseconds()).padStart(3, "0")}`;
};

/** ago formats the time since a moment, in one unit. */
export function ago(iso: string, now = Date.now()): string {
  const seconds = Math.round((now - Date.parse(iso)) / 1000);
  if (seconds < 1) return "now";
  const [size, unit] = STEPS.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${unit} ago`;
}
