// SPDX-License-Identifier: Apache-2.0

import { useState } from "react";
import { stringify } from "yaml";
import type { Pod } from "../../api/client";
import { runLine, toDocument } from "../../lib/podDocument";
import { Card, Copy } from "../../ui/parts";

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
      <pre className="code" role="region" tabIndex={0} aria-label="The pod's document">
        <code>{text}</code>
      </pre>
      <p className="hint">
        <Copy text={text} shown="The document" label="the document" /> is for <code>husk apply -f</code>.
      </p>
      {line.text ? (
        <p className="hint">
          Or: <Copy text={line.text} label="the command" />
        </p>
      ) : (
        <p className="hint">
          <code>husk run</code> cannot create this pod: {line.why}.
        </p>
      )}
    </Card>
  );
}
