// SPDX-License-Identifier: Apache-2.0

import type { HTMLAttributes } from "react";
import styles from "./Note.module.css";

/** Note says something that should not be missed. */
export function Note({ as: Tag = "p", bad, ...props }: HTMLAttributes<HTMLElement> & { as?: "p" | "div" | "output"; bad?: boolean }) {
  return <Tag className={bad ? `${styles.note} ${styles.bad}` : styles.note} {...props} />;
}
