// SPDX-License-Identifier: Apache-2.0

import { type FormEvent, type ReactNode, useId, useLayoutEffect, useRef, useState } from "react";
import { Button } from "./Button";
import { Problem } from "./Problem";

interface DialogProps {
  title: string;
  close: () => void;
  children: ReactNode;
  wide?: boolean;
}

/** Dialog is modal. Escape or a click outside closes it. The browser keeps the focus inside and restores it afterwards. */
export function Dialog({ title, close, children, wide }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useLayoutEffect(() => {
    const d = ref.current;
    if (d && !d.open) d.showModal();
    return () => d?.close();
  }, []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape already closes the dialog
    <dialog
      ref={ref}
      className={wide ? "dialog wide" : "dialog"}
      aria-labelledby={heading}
      onCancel={(e) => {
        e.preventDefault();
        close();
      }}
      onClick={(e) => e.target === ref.current && close()}
    >
      <div className="dialog-body">
        <h2 id={heading}>{title}</h2>
        {children}
      </div>
    </dialog>
  );
}

interface FormDialogProps {
  title: string;
  submit: string;
  close: () => void;
  run: () => Promise<unknown>; // the dialog closes if it succeeds, and shows the error if it fails
  danger?: boolean;
  children: ReactNode;
  wide?: boolean;
}

/** FormDialog shows a form and runs an action when it is submitted. */
export function FormDialog({ title, submit, close, run, danger, children, wide }: FormDialogProps) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const onSubmit = async (e: FormEvent) => {
    e.preventDefault();
    if (busy) return;
    setBusy(true);
    setError(undefined);
    try {
      await run();
      close();
    } catch (err) {
      setError(err);
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} close={close} wide={wide}>
      <form onSubmit={onSubmit} noValidate={false}>
        {children}
        <Problem error={error} />
        <div className="dialog-actions">
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" look={danger ? "danger" : "primary"} busy={busy}>
            {submit}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
