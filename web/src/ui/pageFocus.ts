// SPDX-License-Identifier: Apache-2.0

// Gives every page its title, and moves the focus to the heading of a page that the user has opened, so that screen readers announce it.
import { type RefObject, useEffect, useLayoutEffect, useRef } from "react";

let opened = false; // the user has opened another page whose heading has not got the focus yet

/** usePageFocus notices that the user opens another page: path is that of the page that is shown, which changes after the page's code has been loaded. */
export function usePageFocus(path: string) {
  const before = useRef(path);
  useLayoutEffect(() => {
    if (before.current === path) return;
    const first = before.current === "";
    before.current = path;
    if (first) return;
    opened = true;
    // The heading is usually there already.
    const timer = setTimeout(() => focus(document.querySelector<HTMLElement>("#content h1")), 50);
    return () => clearTimeout(timer);
  }, [path]);
}

function focus(heading: HTMLElement | null) {
  if (!opened || !heading || document.querySelector("dialog[open]")) return;
  const at = document.activeElement;
  const busy = at instanceof HTMLElement && at.matches("#content input, #content textarea, #content select, .xterm-helper-textarea");
  opened = false;
  if (!busy) heading.focus({ preventScroll: true });
}

/** usePageTitle sets the document's title to the text of a heading. */
export function usePageTitle(heading: RefObject<HTMLElement | null>) {
  useEffect(() => {
    const text = heading.current?.textContent
      ?.replace(/[^\p{L}\p{N}\p{P} =]/gu, "")
      .replace(/\s+/g, " ")
      .trim();
    if (text) document.title = `${text} · Husk`;
  });
  useEffect(() => focus(heading.current), [heading]);
}
