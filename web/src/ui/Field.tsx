// SPDX-License-Identifier: Apache-2.0

import { type InputHTMLAttributes, type ReactNode, type SelectHTMLAttributes, useId } from "react";
import styles from "./Field.module.css";
import { useFieldError } from "./formErrors";
import { Hint } from "./Hint";

/** NAME is the input pattern for object names (RFC 1123). */
export const NAME = String.raw`[a-z0-9]([\-a-z0-9]*[a-z0-9])?`;

interface Common {
  label: string;
  hint?: ReactNode;
  error?: string;
  field?: string; // in the request; errors of the form that name it appear here
}

function Wrap({ label, hint, error, id, children }: Common & { id: string; children: ReactNode }) {
  return (
    <div className={error ? `${styles.field} ${styles.wrong}` : styles.field}>
      <label htmlFor={id}>{label}</label>
      {children}
      {hint && (
        <Hint as="div" id={`${id}-hint`}>
          {hint}
        </Hint>
      )}
      {error && (
        <div className={styles.error} id={`${id}-error`}>
          {error}
        </div>
      )}
    </div>
  );
}

const described = (id: string, c: Common) => [c.hint && `${id}-hint`, c.error && `${id}-error`].filter(Boolean).join(" ") || undefined;

type InputProps = Common & Omit<InputHTMLAttributes<HTMLInputElement>, "onChange"> & { onChange: (value: string) => void };

/** Input is a labelled input for text or a number. */
export function Input({ label, hint, error: given, field, onChange, ...rest }: InputProps) {
  const id = useId();
  const found = useFieldError(field);
  const error = given ?? found;
  return (
    <Wrap {...{ label, hint, error, id }}>
      <input
        id={id}
        autoComplete="off"
        spellCheck={false}
        aria-describedby={described(id, { label, hint, error })}
        aria-invalid={error ? true : undefined}
        onChange={(e) => onChange(e.target.value)}
        {...rest}
      />
    </Wrap>
  );
}

type SelectProps = Common &
  Omit<SelectHTMLAttributes<HTMLSelectElement>, "onChange"> & {
    onChange: (value: string) => void;
    options: [value: string, text: string][];
  };

/** Select is a labelled list of options. */
export function Select({ label, hint, error: given, field, onChange, options, ...rest }: SelectProps) {
  const id = useId();
  const found = useFieldError(field);
  const error = given ?? found;
  return (
    <Wrap {...{ label, hint, error, id }}>
      <select
        id={id}
        aria-describedby={described(id, { label, hint, error })}
        aria-invalid={error ? true : undefined}
        onChange={(e) => onChange(e.target.value)}
        {...rest}
      >
        {options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </Wrap>
  );
}

/** Area is a labelled input for several lines of text. */
export function Area({
  label,
  hint,
  error: given,
  field,
  value,
  onChange,
  rows = 3,
  mono = true,
}: Common & { value: string; onChange: (v: string) => void; rows?: number; mono?: boolean }) {
  const id = useId();
  const found = useFieldError(field);
  const error = given ?? found;
  return (
    <Wrap {...{ label, hint, error, id }}>
      <textarea
        id={id}
        className={mono ? "mono" : ""}
        rows={rows}
        spellCheck={false}
        value={value}
        aria-describedby={described(id, { label, hint, error })}
        aria-invalid={error ? true : undefined}
        onChange={(e) => onChange(e.target.value)}
      />
    </Wrap>
  );
}
