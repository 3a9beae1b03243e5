// SPDX-License-Identifier: Apache-2.0

import type { ButtonHTMLAttributes } from "react";
import styles from "./IconButton.module.css";
import { Icon, type IconName } from "./icons";

interface Props extends Omit<ButtonHTMLAttributes<HTMLButtonElement>, "aria-label"> {
  icon: IconName;
  label: string;
  size?: number;
}

/** IconButton is a button without words. */
export function IconButton({ icon, label, size, className = "", ...rest }: Props) {
  return (
    <button type="button" className={`${styles.button} ${className}`} aria-label={label} {...rest}>
      <Icon name={icon} size={size} />
    </button>
  );
}
