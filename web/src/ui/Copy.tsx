// SPDX-License-Identifier: Apache-2.0

import { useRef, useState } from "react";
import { copyText } from "../lib/copyText";
import styles from "./Copy.module.css";
import { IconButton } from "./IconButton";

/** Copy shows text with a button that copies it. If the browser does not allow this, the button selects the text. */
export function Copy({ text, shown, label }: { text: string; shown?: string; label: string }) {
  const [done, setDone] = useState<"copied" | "selected">();
  const code = useRef<HTMLElement>(null);
  const copy = async () => {
    const copied = await copyText(text);
    if (!copied && code.current) getSelection()?.selectAllChildren(code.current);
    setDone(copied ? "copied" : "selected");
    setTimeout(() => setDone(undefined), copied ? 1500 : 6000);
  };
  const said = done === "copied" ? "Copied" : done === "selected" ? "Selected: press Ctrl-C to copy" : `Copy ${label}`;
  return (
    <span className={styles.copy}>
      <code ref={code}>{done === "selected" ? text : (shown ?? text)}</code>
      <IconButton icon={done === "copied" ? "check" : "copy"} label={said} title={`Copy ${label}`} onClick={copy} />
      {done === "selected" && <span className="muted small">Press Ctrl-C</span>}
    </span>
  );
}
