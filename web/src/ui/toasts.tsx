// SPDX-License-Identifier: Apache-2.0

// Short messages about the results of actions. Screen readers announce them.
import { useSyncExternalStore } from "react";
import { ApiError } from "../api/client";
import { IconButton } from "./IconButton";
import { sentence } from "./Problem";
import styles from "./toasts.module.css";

interface Toast {
  id: number;
  text: string;
  bad: boolean;
}

let toasts: Toast[] = [];
let last = 0;
const listeners = new Set<() => void>();

function change(next: Toast[]) {
  toasts = next;
  for (const listener of listeners) listener();
}

const dismiss = (id: number) => change(toasts.filter((t) => t.id !== id));

export function toast(text: string, bad = false) {
  const id = ++last;
  change([...toasts.slice(-3), { id, text, bad }]);
  setTimeout(() => dismiss(id), bad ? 12_000 : 5_000);
}

/** toastError shows an error that does not belong to a form or list on the page. */
export const toastError = (doing: string, err: unknown) =>
  toast(
    `${doing}: ${err instanceof ApiError ? `${sentence(err.message)} (${err.code}${err.requestId ? `, request ${err.requestId}` : ""})` : err}`,
    true,
  );

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
  return (
    <div className={styles.toasts} aria-live="polite">
      {shown.map((t) => (
        <div key={t.id} className={t.bad ? `${styles.toast} ${styles.bad}` : styles.toast}>
          <span>{t.text}</span>
          <IconButton icon="close" label="Dismiss" onClick={() => dismiss(t.id)} />
        </div>
      ))}
    </div>
  );
}
