// SPDX-License-Identifier: Apache-2.0

import type { ComponentProps } from "react";
import styles from "./EntryHead.module.css";

/** EntryHead has the name of an account or an issuer, and its buttons. */
export const EntryHead = (props: ComponentProps<"div">) => <div className={styles.head} {...props} />;
