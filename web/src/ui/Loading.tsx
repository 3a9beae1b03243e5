// SPDX-License-Identifier: Apache-2.0

import styles from "./Loading.module.css";
import { Spinner } from "./Spinner";

export const Loading = ({ what = "Loading" }: { what?: string }) => (
  <output className={styles.loading} aria-busy="true">
    <Spinner /> {what}…
  </output>
);
