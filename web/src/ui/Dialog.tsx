// SPDX-License-Identifier: Apache-2.0

import { type FormEvent, type ReactNode, useEffect, useId, useLayoutEffect, useRef, useState } from "react";
import { Button } from "./Button";
import styles from "./Dialog.module.css";
import { DialogActions } from "./DialogActions";
import { FormErrors } from "./formErrors";
import { Problem } from "./Problem";

interface DialogProps {
  title: string;
  close: () => void;
  children: ReactNode;
  wide?: boolean;
  stays?: boolean; // only its own buttons close it, because its content cannot be shown again
}

/** Dialog is modal. Escape or a click outside closes it. The browser keeps the focus inside and restores it afterwards. */
export function Dialog({ title, close, children, wide, stays }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null);
  const pressed = useRef<EventTarget>(null); // a drag that ends outside is no click outside
  const heading = useId();
  useEffect(() => {
    if (!stays) return;
    const leaving = (e: BeforeUnloadEvent) => e.preventDefault(); // the browser asks first
    window.addEventListener("beforeunload", leaving);
    return () => window.removeEventListener("beforeunload", leaving);
  }, [stays]);
  useLayoutEffect(() => {
    const d = ref.current;
    if (d && !d.open) d.showModal();
    return () => d?.close();
  }, []);
  return (
    <dialog
      ref={ref}
      className={wide ? `${styles.dialog} ${styles.wide}` : styles.dialog}
      aria-labelledby={heading}
      onKeyDown={(e) => {
        if (e.key === "Escape" && stays) e.preventDefault();
      }}
      onCancel={(e) => {
        if (e.target !== ref.current) return; // such as that of a file chooser
        e.preventDefault();
        if (!stays) close();
      }}
      onClose={() => {
        // Browsers close a dialog that prevents it twice in a row.
        if (!ref.current?.isConnected || ref.current.open) return;
        if (stays) ref.current.showModal();
        else close();
      }}
      onMouseDown={(e) => {
        pressed.current = e.target;
      }}
      onClick={(e) => !stays && e.target === ref.current && pressed.current === ref.current && close()}
    >
      <div className={styles.body}>
        <h2 id={heading}>{title}</h2>
        {children}
      </div>
    </dialog>
  );
}

interface FormDialogProps {
  title: string;
  submit: string;
  back?: string; // the button that only closes the dialog
  close: () => void;
  run: () => Promise<unknown>; // the dialog closes if it succeeds, and shows the error if it fails
  stays?: boolean; // the dialog does not close if it succeeds, because it has another step
  danger?: boolean;
  children: ReactNode;
  wide?: boolean;
}

/** FormDialog shows a form and runs an action when it is submitted. */
export function FormDialog({ title, submit, back = "Cancel", close, run, stays, danger, children, wide }: FormDialogProps) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const onSubmit = async (e: FormEvent) => {
    e.preventDefault();
    if (busy) return;
    setBusy(true);
    setError(undefined);
    try {
      await run();
      if (stays) setBusy(false);
      else close();
    } catch (err) {
      setError(err);
      setBusy(false);
    }
  };
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    if (error) form.current?.querySelector<HTMLElement>("[aria-invalid]")?.focus();
  }, [error]);
  return (
    <Dialog title={title} close={close} wide={wide}>
      <form ref={form} onSubmit={onSubmit} noValidate={false}>
        <FormErrors value={error}>{children}</FormErrors>
        <Problem error={error} />
        <DialogActions>
          <Button onClick={close}>{back}</Button>
          <Button type="submit" look={danger ? "danger" : "primary"} busy={busy}>
            {submit}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}
