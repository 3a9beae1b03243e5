import { useState } from "react";
import { stringify } from "yaml";
import type { Pod } from "../../api/client";
import { Card, Copy } from "../../ui/parts";
import { document, runLine } from "../newpod/twin";

/** SpecTab is the pod as it was ordered, in the forms in which it can be ordered again. */
export default function SpecTab({ pod }: { pod: Pod }) {
  const [form, setForm] = useState<"yaml" | "json">("yaml");
  const doc = document({ name: pod.name, labels: pod.labels, spec: pod.spec });
  const text = form === "yaml" ? stringify(doc, { lineWidth: 0 }) : JSON.stringify(doc, null, 2);
  const line = runLine({ name: pod.name, labels: pod.labels, spec: pod.spec });
  return (
    <Card
      title="As it was ordered"
      actions={
        <select aria-label="Form" value={form} onChange={(e) => setForm(e.target.value as "yaml" | "json")}>
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
        <p className="hint">As a line of husk run it cannot be said: {line.why}.</p>
      )}
    </Card>
  );
}
