// SPDX-License-Identifier: Apache-2.0

import styles from "./Logo.module.css";

export const Logo = ({ size }: { size: number }) => (
  <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
    <rect width="32" height="32" rx="7" className={styles.ground} />
    <path d="M9 7v18M23 7v18M9 16h14" className={styles.line} />
    <circle cx="16" cy="16" r="3.6" className={styles.seed} />
  </svg>
);
