// SPDX-License-Identifier: Apache-2.0

import type { ComponentProps } from "react";
import styles from "./Filters.module.css";

/** Filters is a line of inputs above a list. */
export const Filters = (props: ComponentProps<"div">) => <div className={styles.filters} {...props} />;
