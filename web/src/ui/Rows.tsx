// SPDX-License-Identifier: Apache-2.0

import type { HTMLAttributes } from "react";
import styles from "./Rows.module.css";

/** Rows is a list with a line for each item. */
export const Rows = ({ className = "", ...props }: HTMLAttributes<HTMLUListElement>) => (
  <ul className={`${styles.rows} ${className}`} {...props} />
);
