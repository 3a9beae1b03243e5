// SPDX-License-Identifier: Apache-2.0

import styles from "./icons.module.css";

// Icons with one line weight on a 16-pixel grid. They always accompany text or a label, so they are hidden from screen readers.
const PATHS = {
  overview: "M2.5 8.5 8 3l5.5 5.5M4 7.5V13h8V7.5",
  pods: "M8 1.8 13.5 5v6L8 14.2 2.5 11V5zM8 8l5.5-3M8 8v6.2M8 8 2.5 5",
  volumes: "M3 4c0-2.4 10-2.4 10 0v8c0 2.4-10 2.4-10 0zM3 4c0 2.4 10 2.4 10 0M3 8c0 2.4 10 2.4 10 0",
  images: "M2.5 5.5 8 2.5l5.5 3L8 8.5zM2.5 8.5 8 11.5l5.5-3M2.5 11 8 14l5.5-3",
  configs: "M5 2.5h8v11H3v-9zM5 2.5v2H3M6 7.5h4M6 10h4",
  services: "M8 2.5v4M8 6.5l-4.5 4M8 6.5v4M8 6.5l4.5 4M2 10.5h3v3H2zM6.5 10.5h3v3h-3zM11 10.5h3v3h-3z",
  ingresses: "M2.5 8h7M7 5l3 3-3 3M10.500 2.500h3v11h-3",
  groups: "M8 1.8 13 3.5v4c0 3.2-2.1 5.4-5 6.7-2.9-1.3-5-3.5-5-6.7v-4zM5.8 8l1.6 1.6L10.4 6.4",
  addresses: "M8 14s4.5-4.2 4.5-7.5a4.5 4.5 0 0 0-9 0C3.5 9.8 8 14 8 14zM8 6.5v.1",
  network: "M6 2.5h4v3H6zM2 10.5h4v3H2zM10 10.5h4v3h-4zM8 5.5V8M4 10.5V8h8v2.5",
  access: "M10.5 9a3.5 3.5 0 1 0-3.4-2.6L2 11.5V14h2.5v-1.5H6V11h1.5l1-1.2c.6.2 1.3.2 2 0zM11.5 4.8v.1",
  usage: "M2.5 13.5h11M4.5 11V7.5M8 11V3.5M11.5 11V6",
  audit: "M4 2.5h8v11H4zM6 5.5h4M6 8h4M6 10.5h2.5",
  events: "M8 2v2M3.8 3.8l1.4 1.4M2 8h2M12.2 3.8l-1.4 1.4M14 8h-2M8 6.5a2.5 2.5 0 0 1 2.5 2.5v4.5h-5V9A2.5 2.5 0 0 1 8 6.5z",
  operations: "M13.5 8a5.5 5.5 0 0 1-10 3.2M2.5 8a5.5 5.5 0 0 1 10-3.2M12.5 2v2.8H9.7M3.5 14v-2.8h2.8",
  nodes: "M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5v.1M5 11v.1",
  tenants: "M5.5 7a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM1.8 13c0-5 7.4-5 7.4 0M10.6 7a1.7 1.7 0 1 0-.4-3.4M11 9c2 .2 3.2 1.6 3.2 4",
  search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.3 10.3 14 14",
  sun: "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M3.4 12.6l.7-.7M11.9 4.1l.7-.7",
  moon: "M13 9.5A5.5 5.5 0 0 1 6.5 3a5.5 5.5 0 1 0 6.5 6.5z",
  plus: "M8 3v10M3 8h10",
  trash: "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.6 9h5.8l.6-9M6.8 7v4M9.2 7v4",
  copy: "M5.5 5.5h7v8h-7zM3.5 10.5v-8h7",
  check: "M3 8.5 6.5 12 13 4.5",
  close: "M4 4l8 8M12 4l-8 8",
  menu: "M2.5 4h11M2.5 8h11M2.5 12h11",
  down: "M4 6l4 4 4-4",
  up: "M4 10l4-4 4 4",
  download: "M8 2.5v7M5 7l3 3 3-3M3 13h10",
  help: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM6 6.4c0-2.4 4-2.2 4 0 0 1.500-2 1.500-2 3M8 11.4v.1",
  out: "M9.500 2.500h-6v11h6M7 8h7M11.500 5.500 14 8l-2.500 2.500",
  warn: "M8 2.500 14.500 13.500h-13zM8 6.500v3.500M8 11.700v.1",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg className={styles.icon} width={size} height={size} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} fill="none" stroke="currentColor" strokeWidth="1.4" strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  );
}
