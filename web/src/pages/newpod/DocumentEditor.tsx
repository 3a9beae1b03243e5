// SPDX-License-Identifier: Apache-2.0

import { useEffect, useRef, useState } from "react";
import { parse, stringify } from "yaml";
import type { PodCreate } from "../../api/client";
import { parseDocument, runLine, toDocument } from "../../lib/podDocument";
import { Copy } from "../../ui/Copy";
import { Area, Select } from "../../ui/Field";
import { Hint } from "../../ui/Hint";

type Format = "yaml" | "json";

const render = (pod: PodCreate, format: Format) =>
  format === "yaml" ? stringify(toDocument(pod), { lineWidth: 0 }) : JSON.stringify(toDocument(pod), null, 2);

/** DocumentEditor edits the pod as text. A valid change of the text updates the form, and a change in the form updates the text. */
export function DocumentEditor({ pod, change }: { pod: PodCreate; change: (pod: PodCreate) => void }) {
  const [format, setFormat] = useState<Format>("yaml");
  const [text, setText] = useState(() => render(pod, "yaml"));
  const [wrong, setWrong] = useState<string>();
  const mine = useRef<PodCreate>(undefined); // the last pod that came from the text
  useEffect(() => {
    if (mine.current === pod) return;
    setText(render(pod, format));
    setWrong(undefined);
  }, [pod, format]);
  const edit = (next: string) => {
    setText(next);
    try {
      const parsed = parseDocument(format === "yaml" ? parse(next) : JSON.parse(next));
      mine.current = parsed;
      change(parsed);
      setWrong(undefined);
    } catch (err) {
      setWrong((err instanceof Error ? err.message : String(err)).split("\n")[0]);
    }
  };
  const line = runLine(pod);
  return (
    <>
      <Select
        label="Format"
        value={format}
        onChange={(v) => {
          mine.current = undefined;
          setFormat(v as Format);
          setText(render(pod, v as Format));
        }}
        options={[
          ["yaml", "YAML"],
          ["json", "JSON"],
        ]}
      />
      <Area
        label="Document"
        rows={Math.min(32, Math.max(12, text.split("\n").length))}
        value={text}
        onChange={edit}
        error={wrong}
        hint={
          <>
            For <code>husk apply -f</code>. You can edit the text here, or use the form.
          </>
        }
      />
      <h3>As a command</h3>
      {line.text ? (
        <Copy text={line.text} label="the command" />
      ) : (
        <Hint>
          <code>husk run</code> cannot create this pod: {line.why}. Use <code>husk apply</code>.
        </Hint>
      )}
    </>
  );
}
