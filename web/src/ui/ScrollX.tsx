// SPDX-License-Identifier: Apache-2.0

import type { ReactNode } from "react";
import styles from "./ScrollX.module.css";

/** ScrollX has a table that is wider than a phone. */
export const ScrollX = ({ label, children }: { label: string; children: ReactNode }) => (
  <div className={styles.scroll} role="region" aria-label={label} tabIndex={0}>
    {children}
  </div>
);
