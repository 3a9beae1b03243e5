// SPDX-License-Identifier: Apache-2.0

import type { ReactNode } from "react";
import { Actions } from "./Actions";
import styles from "./Card.module.css";

export function Card({
  title,
  actions,
  children,
  span,
  grow,
  className = "",
}: {
  title?: string;
  actions?: ReactNode;
  children: ReactNode;
  span?: boolean; // all columns of the cards
  grow?: boolean; // two columns of the cards
  className?: string;
}) {
  return (
    <section className={[styles.card, span && styles.span, grow && styles.grow, className].filter(Boolean).join(" ")} aria-label={title}>
      {title && (
        <div className={styles.head}>
          <h2>{title}</h2>
          {actions && <Actions>{actions}</Actions>}
        </div>
      )}
      {children}
    </section>
  );
}
