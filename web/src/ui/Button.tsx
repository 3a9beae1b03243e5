// SPDX-License-Identifier: Apache-2.0

import type { ButtonHTMLAttributes } from "react";
import { Icon, type IconName } from "./icons";

interface Props extends ButtonHTMLAttributes<HTMLButtonElement> {
  icon?: IconName;
  look?: "primary" | "danger" | "plain" | "quiet";
  small?: boolean;
  busy?: boolean;
  unless?: string; // why the action is not possible now
}

/** Button ignores clicks and shows a spinner while it is busy. It keeps the focus. A button that is not possible can be focused, and says why. */
export function Button({ icon, look = "plain", small, busy, unless, children, onClick, className = "", ...rest }: Props) {
  return (
    <button
      type="button"
      className={`button ${look} ${small ? "small" : ""} ${className}`}
      aria-busy={busy}
      aria-disabled={busy || !!unless || undefined}
      title={unless}
      onClick={busy || unless ? (e) => e.preventDefault() : onClick}
      {...rest}
    >
      {busy ? <span className="spinner" aria-hidden="true" /> : icon && <Icon name={icon} />}
      {children}
    </button>
  );
}
