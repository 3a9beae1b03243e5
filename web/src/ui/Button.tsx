// SPDX-License-Identifier: Apache-2.0

import type { ButtonHTMLAttributes } from "react";
import styles from "./Button.module.css";
import { Icon, type IconName } from "./icons";
import { Spinner } from "./Spinner";

interface Props extends ButtonHTMLAttributes<HTMLButtonElement> {
  icon?: IconName;
  look?: "primary" | "danger" | "plain" | "quiet";
  small?: boolean;
  busy?: boolean;
  unless?: string; // why the action is not possible now
}

/** buttonLook is the class of a link that looks like a button. */
export const buttonLook = (look: Props["look"] = "plain", small = false) =>
  [styles.button, styles[look], small && styles.small].filter(Boolean).join(" ");

/** Button ignores clicks and shows a spinner while it is busy. It keeps the focus. A button that is not possible can be focused, and says why. */
export function Button({ icon, look = "plain", small, busy, unless, children, onClick, className = "", ...rest }: Props) {
  return (
    <button
      type="button"
      className={`${buttonLook(look, small)} ${className}`}
      aria-busy={busy}
      aria-disabled={busy || !!unless || undefined}
      title={unless}
      onClick={busy || unless ? (e) => e.preventDefault() : onClick}
      {...rest}
    >
      {busy ? <Spinner /> : icon && <Icon name={icon} />}
      {children}
    </button>
  );
}
