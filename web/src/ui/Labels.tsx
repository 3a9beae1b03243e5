// SPDX-License-Identifier: Apache-2.0

import { Chip } from "./Chip";
import styles from "./Labels.module.css";

/** Labels shows labels as chips. With pick, they are buttons that filter the list. */
export function Labels({ labels, pick }: { labels: Record<string, string>; pick?: (name: string, value: string) => void }) {
  return (
    <span className={styles.chips}>
      {Object.entries(labels).map(([name, value]) =>
        pick ? (
          <Chip key={name} title={`Filter by ${name}=${value}`} pick={() => pick(name, value)}>
            {name}={value}
          </Chip>
        ) : (
          <Chip key={name}>
            {name}={value}
          </Chip>
        ),
      )}
    </span>
  );
}
