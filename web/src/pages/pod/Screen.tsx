// SPDX-License-Identifier: Apache-2.0

import type { Ref } from "react";
import styles from "./Screen.module.css";

/** Screen is where a terminal is drawn. */
export const Screen = ({ ref }: { ref: Ref<HTMLDivElement> }) => <div className={styles.screen} ref={ref} />;
