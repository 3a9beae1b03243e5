// SPDX-License-Identifier: Apache-2.0

import type { ComponentProps } from "react";
import styles from "./Line.module.css";

/** Line is a line of inputs that belong together, with a button that removes it. */
export const Line = (props: ComponentProps<"div">) => <div className={styles.line} {...props} />;
