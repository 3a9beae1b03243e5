// SPDX-License-Identifier: Apache-2.0

import type { ComponentProps } from "react";
import styles from "./Entry.module.css";

/** Entry is one of several accounts or issuers in a card. */
export const Entry = (props: ComponentProps<"section">) => <section className={styles.entry} {...props} />;
