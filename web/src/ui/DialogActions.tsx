// SPDX-License-Identifier: Apache-2.0

import type { ComponentProps } from "react";
import styles from "./DialogActions.module.css";

/** DialogActions has the buttons at the end of a dialog. */
export const DialogActions = (props: ComponentProps<"div">) => <div className={styles.actions} {...props} />;
