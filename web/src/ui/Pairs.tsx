// SPDX-License-Identifier: Apache-2.0

import { useEffect, useRef, useState } from "react";
import { Button } from "./Button";
import { Line } from "./Line";

type Pair = [name: string, value: string];

const fromPairs = (pairs: Pair[]) => Object.fromEntries(pairs.filter(([name]) => name !== ""));
const same = (a: Record<string, string>, b: Record<string, string>) =>
  JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort());

/** Pairs edits names and values. Lines with an empty name are ignored. */
export function Pairs({
  label,
  value,
  change,
}: {
  label: string;
  value: Record<string, string>;
  change: (v: Record<string, string>) => void;
}) {
  const [pairs, setPairs] = useState<Pair[]>(() => Object.entries(value));
  const shown = useRef(pairs);
  shown.current = pairs;
  useEffect(() => {
    if (!same(fromPairs(shown.current), value)) setPairs(Object.entries(value));
  }, [value]);
  const set = (next: Pair[]) => {
    setPairs(next);
    change(fromPairs(next));
  };
  return (
    <fieldset>
      <legend>{label}</legend>
      {pairs.map(([name, v], i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the index identifies the line, because its name changes while the user types
        <Line key={i}>
          <input
            aria-label={`${label}: name ${i + 1}`}
            placeholder="name"
            value={name}
            onChange={(e) => set(pairs.map((p, j) => (i === j ? [e.target.value, p[1]] : p)))}
          />
          <input
            aria-label={`${label}: value ${i + 1}`}
            placeholder="value"
            value={v}
            onChange={(e) => set(pairs.map((p, j) => (i === j ? [p[0], e.target.value] : p)))}
          />
          <Button
            small
            look="quiet"
            icon="trash"
            aria-label={`Remove ${name || "the line"}`}
            onClick={() => set(pairs.filter((_, j) => i !== j))}
          />
        </Line>
      ))}
      <Button small icon="plus" onClick={() => setPairs([...pairs, ["", ""]])}>
        Add
      </Button>
    </fieldset>
  );
}
