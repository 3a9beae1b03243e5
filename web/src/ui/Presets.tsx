// SPDX-License-Identifier: Apache-2.0

import type { ComponentProps } from "react";
import styles from "./Presets.module.css";

/** Presets is a line of buttons that choose values. */
export const Presets = (props: ComponentProps<"div">) => <div className={styles.presets} {...props} />;
