// SPDX-License-Identifier: Apache-2.0

import type { ReactNode } from "react";
import styles from "./InlineLabel.module.css";

/** InlineLabel is a label next to the input that it contains. */
export const InlineLabel = ({ children }: { children: ReactNode }) => (
  // biome-ignore lint/a11y/noLabelWithoutControl: its children contain the input
  <label className={styles.inline}>{children}</label>
);
