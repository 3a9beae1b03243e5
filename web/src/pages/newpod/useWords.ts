// SPDX-License-Identifier: Apache-2.0

import { useEffect, useRef, useState } from "react";

/** useWords edits a list of words as text. It keeps the text that the user types, and updates it when the list changes elsewhere. */
export function useWords(
  words: string[] | undefined,
  join: (w?: string[]) => string,
  split: (s: string) => string[],
  change: (w: string[]) => void,
) {
  const [text, setText] = useState(() => join(words));
  const last = useRef(JSON.stringify(words ?? []));
  useEffect(() => {
    const now = JSON.stringify(words ?? []);
    if (now === last.current) return;
    last.current = now;
    setText(join(words));
  }, [words, join]);
  const type = (next: string) => {
    setText(next);
    const parts = split(next);
    last.current = JSON.stringify(parts);
    change(parts);
  };
  return [text, type] as const;
}
