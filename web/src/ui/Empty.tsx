// SPDX-License-Identifier: Apache-2.0

import type { ReactNode } from "react";
import styles from "./Empty.module.css";

/** Empty explains why a page has no content and what the next step is. */
export function Empty({ title, children, action }: { title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <div className={styles.empty}>
      <h2>{title}</h2>
      {children && <div className={styles.text}>{children}</div>}
      {action}
    </div>
  );
}
