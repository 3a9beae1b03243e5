// SPDX-License-Identifier: Apache-2.0

import type { ReactNode } from "react";
import styles from "./Cards.module.css";

/** Cards puts cards next to each other, as many as fit, or at most two. */
export const Cards = ({ two, children }: { two?: boolean; children: ReactNode }) => (
  <div className={two ? `${styles.cards} ${styles.two}` : styles.cards}>{children}</div>
);
