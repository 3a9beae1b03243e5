// SPDX-License-Identifier: Apache-2.0

import type { ComponentProps } from "react";
import styles from "./Actions.module.css";

/** Actions is a line of buttons. */
export const Actions = (props: ComponentProps<"div">) => <div className={styles.actions} {...props} />;
