// SPDX-License-Identifier: Apache-2.0

import type { ReactNode } from "react";
import styles from "./Alone.module.css";

/** Alone is a page without the frame. */
export const Alone = ({ className = "", children }: { className?: string; children: ReactNode }) => (
  <main className={`${styles.alone} ${className}`}>{children}</main>
);
