// SPDX-License-Identifier: Apache-2.0

import styles from "./Meter.module.css";

/** Meter shows how much of a limit is used, as a bar and as text. */
export function Meter({ label, used, limit, show }: { label: string; used: number; limit: number; show: (n: number) => string }) {
  const share = limit > 0 ? used / limit : used > 0 ? 1 : 0;
  const tone = share >= 1 ? "bad" : share >= 0.8 ? "warn" : "good";
  return (
    <div>
      <div className={styles.text}>
        <span>{label}</span>
        <span className="number">
          {show(used)} <span className="muted">of {show(limit)}</span>
        </span>
      </div>
      <div
        className={`${styles.bar} ${tone === "good" ? "" : styles[tone]}`}
        role="meter"
        aria-label={label}
        aria-valuenow={used}
        aria-valuemin={0}
        aria-valuemax={Math.max(limit, used)}
        aria-valuetext={`${show(used)} of ${show(limit)}`}
      >
        <span style={{ width: `${Math.min(100, share * 100)}%` }} />
      </div>
    </div>
  );
}
