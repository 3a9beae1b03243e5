// SPDX-License-Identifier: Apache-2.0

import type { ReactNode } from "react";
import styles from "./Chip.module.css";

interface Props {
  children: ReactNode;
  on?: boolean; // it has been chosen
  label?: string; // for screen readers
  title?: string;
  pick?: () => void; // makes it a button
}

/** Chip is a word in a frame. */
export function Chip({ children, on, label, title, pick }: Props) {
  const look = on ? `${styles.chip} ${styles.on}` : styles.chip;
  if (!pick)
    return (
      <span className={look} title={title}>
        {children}
      </span>
    );
  return (
    <button type="button" className={look} aria-label={label} title={title} onClick={pick}>
      {children}
    </button>
  );
}
