// SPDX-License-Identifier: Apache-2.0

import { type ReactNode, useRef } from "react";
import { Actions } from "./Actions";
import styles from "./PageHead.module.css";
import { usePageTitle } from "./pageFocus";

/** PageHead is the heading of a page with its actions. */
export function PageHead({ title, lead, children }: { title: ReactNode; lead?: ReactNode; children?: ReactNode }) {
  const heading = useRef<HTMLHeadingElement>(null);
  usePageTitle(heading);
  return (
    <header className={styles.head}>
      <div>
        <h1 ref={heading} tabIndex={-1}>
          {title}
        </h1>
        {lead && <p className={styles.lead}>{lead}</p>}
      </div>
      {children && <Actions>{children}</Actions>}
    </header>
  );
}
