// SPDX-License-Identifier: Apache-2.0

import type { ComponentProps } from "react";
import styles from "./Columns.module.css";

/** Columns puts inputs next to each other, as many as fit. */
export const Columns = (props: ComponentProps<"div">) => <div className={styles.columns} {...props} />;
