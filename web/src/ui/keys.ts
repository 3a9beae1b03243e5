// SPDX-License-Identifier: Apache-2.0

import { useEffect, useRef } from "react";

export type GoTo = [key: string, go: () => void];

interface Keys {
  search: () => void;
  help: () => void;
  create?: () => void;
  goTo: GoTo[];
}

const CHORD = 1200; // milliseconds within which the second key must follow g

const typing = (t: EventTarget | null) => t instanceof HTMLElement && (t.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName));

/** useKeys handles the keyboard shortcuts of every page: / or Ctrl-K, ?, c, and g followed by a letter. Except for Ctrl-K, it ignores keys that are typed into an input. */
export function useKeys(keys: Keys) {
  const now = useRef(keys);
  now.current = keys;
  useEffect(() => {
    let gAt = 0;
    const down = (e: KeyboardEvent) => {
      if (e.key === "k" && (e.ctrlKey || e.metaKey)) {
        e.preventDefault();
        now.current.search();
        return;
      }
      if (e.ctrlKey || e.metaKey || e.altKey || typing(e.target) || document.querySelector("dialog[open]")) return;
      const chord = Date.now() - gAt < CHORD && now.current.goTo.find(([key]) => key === e.key);
      gAt = e.key === "g" ? Date.now() : 0;
      const act = chord
        ? chord[1]
        : e.key === "/"
          ? now.current.search
          : e.key === "?"
            ? now.current.help
            : e.key === "c"
              ? now.current.create
              : undefined;
      if (!act) return;
      e.preventDefault();
      act();
    };
    document.addEventListener("keydown", down);
    return () => document.removeEventListener("keydown", down);
  }, []);
}
