// SPDX-License-Identifier: Apache-2.0

import { useState } from "react";
import { stringify } from "yaml";
import type { Pod } from "../../api/client";
import { runLine, toDocument } from "../../lib/podDocument";
import { Card } from "../../ui/Card";
import { Copy } from "../../ui/Copy";
import { Hint } from "../../ui/Hint";
import styles from "./SpecTab.module.css";

/** SpecTab shows the pod's spec as a document and as a command. */
export default function SpecTab({ pod }: { pod: Pod }) {
  const [format, setFormat] = useState<"yaml" | "json">("yaml");
  const doc = toDocument({ name: pod.name, labels: pod.labels, spec: pod.spec });
  const text = format === "yaml" ? stringify(doc, { lineWidth: 0 }) : JSON.stringify(doc, null, 2);
  const line = runLine({ name: pod.name, labels: pod.labels, spec: pod.spec });
  return (
    <Card
      title="Spec"
      actions={
        <select aria-label="Format" value={format} onChange={(e) => setFormat(e.target.value as "yaml" | "json")}>
          <option value="yaml">YAML</option>
          <option value="json">JSON</option>
        </select>
      }
    >
      <pre className={styles.code} role="region" tabIndex={0} aria-label="The pod's document">
        <code>{text}</code>
      </pre>
      <Hint>
        <Copy text={text} shown="The document" label="the document" /> is for <code>husk apply -f</code>.
      </Hint>
      {line.text ? (
        <Hint>
          Or: <Copy text={line.text} label="the command" />
        </Hint>
      ) : (
        <Hint>
          <code>husk run</code> cannot create this pod: {line.why}.
        </Hint>
      )}
    </Card>
  );
}
