import { useEffect, useRef, useState } from "react";

/** useWords keeps a list of words as the text that is being typed, and follows when the list is changed elsewhere. */
export function useWords(
  words: string[] | undefined,
  join: (w?: string[]) => string,
  split: (s: string) => string[],
  change: (w: string[]) => void,
) {
  const [text, setText] = useState(() => join(words));
  const said = useRef(JSON.stringify(words ?? []));
  useEffect(() => {
    const now = JSON.stringify(words ?? []);
    if (now === said.current) return;
    said.current = now;
    setText(join(words));
  }, [words, join]);
  const type = (next: string) => {
    setText(next);
    const parts = split(next);
    said.current = JSON.stringify(parts);
    change(parts);
  };
  return [text, type] as const;
}
