import { useEffect, useRef, useState } from "react";
import { parse, stringify } from "yaml";
import type { PodCreate } from "../../api/client";
import { Area, Select } from "../../ui/Field";
import { Copy } from "../../ui/parts";
import { document, order, runLine } from "./twin";

type Form = "yaml" | "json";

const written = (pod: PodCreate, form: Form) =>
  form === "yaml" ? stringify(document(pod), { lineWidth: 0 }) : JSON.stringify(document(pod), null, 2);

/** Twin is the order as text. Both sides can be edited; what is typed here changes the form as soon as it makes sense. */
export function Twin({ pod, change }: { pod: PodCreate; change: (pod: PodCreate) => void }) {
  const [form, setForm] = useState<Form>("yaml");
  const [text, setText] = useState(() => written(pod, "yaml"));
  const [wrong, setWrong] = useState<string>();
  const mine = useRef<PodCreate>(undefined); // what this side has said last
  useEffect(() => {
    if (mine.current === pod) return;
    setText(written(pod, form));
    setWrong(undefined);
  }, [pod, form]);
  const edit = (next: string) => {
    setText(next);
    try {
      const said = order(form === "yaml" ? parse(next) : JSON.parse(next));
      mine.current = said;
      change(said);
      setWrong(undefined);
    } catch (err) {
      setWrong((err instanceof Error ? err.message : String(err)).split("\n")[0]);
    }
  };
  const line = runLine(pod);
  return (
    <>
      <Select
        label="Form"
        value={form}
        onChange={(v) => {
          mine.current = undefined;
          setForm(v as Form);
          setText(written(pod, v as Form));
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
            For <code>husk apply -f</code>. Change it here or in the form.
          </>
        }
      />
      <h3>As a command</h3>
      {line.text ? (
        <Copy text={line.text} label="the command" />
      ) : (
        <p className="hint">husk run cannot say it: {line.why}. husk apply can.</p>
      )}
    </>
  );
}
