// SPDX-License-Identifier: Apache-2.0

import type { HTMLAttributes } from "react";
import styles from "./Hint.module.css";

/** Hint explains something in small letters. */
export function Hint({ as: Tag = "p", ...props }: HTMLAttributes<HTMLElement> & { as?: "p" | "div" | "span" }) {
  return <Tag className={styles.hint} {...props} />;
}
