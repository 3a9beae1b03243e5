// SPDX-License-Identifier: Apache-2.0

import type { ComponentProps } from "react";
import styles from "./Meters.module.css";

/** Meters stacks meters. */
export const Meters = (props: ComponentProps<"div">) => <div className={styles.meters} {...props} />;
