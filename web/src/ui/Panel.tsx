// SPDX-License-Identifier: Apache-2.0

import type { HTMLAttributes } from "react";
import styles from "./Card.module.css";

/** Panel looks like a card, and is a form, an item of a list, or something else. */
export function Panel({ as: Tag, ...props }: HTMLAttributes<HTMLElement> & { as: "div" | "form" | "li" | "details" }) {
  return <Tag className={styles.card} {...props} />;
}
