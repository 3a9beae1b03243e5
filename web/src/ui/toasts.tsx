// Short notes on what was just done, told to screen readers too.
import { useSyncExternalStore } from "react";
import { ApiError } from "../api/client";
import { Icon } from "./icons";
import { sentence } from "./Problem";

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
  for (const tell of listeners) tell();
}

const dismiss = (id: number) => change(toasts.filter((t) => t.id !== id));

export function toast(text: string, bad = false) {
  const id = ++last;
  change([...toasts.slice(-3), { id, text, bad }]);
  setTimeout(() => dismiss(id), bad ? 12_000 : 5_000);
}

/** toastError tells of an error that no place on the page is for. */
export const toastError = (doing: string, err: unknown) =>
  toast(
    `${doing}: ${err instanceof ApiError ? `${sentence(err.message)} (${err.code}${err.requestId ? `, request ${err.requestId}` : ""})` : err}`,
    true,
  );

export function Toasts() {
  const shown = useSyncExternalStore(
    (tell) => {
      listeners.add(tell);
      return () => listeners.delete(tell);
    },
    () => toasts,
  );
  return (
    <div className="toasts" aria-live="polite">
      {shown.map((t) => (
        <div key={t.id} className={t.bad ? "toast bad" : "toast"}>
          <span>{t.text}</span>
          <button type="button" className="icon-button" aria-label="Dismiss" onClick={() => dismiss(t.id)}>
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  );
}
