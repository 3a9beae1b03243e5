// SPDX-License-Identifier: Apache-2.0

import { useState } from "react";
import { IconButton } from "./IconButton";
import { applyTheme, isDark } from "./theme";

/** ThemeButton switches between the light and the dark theme. */
export function ThemeButton() {
  const [dark, setDark] = useState(isDark);
  return (
    <IconButton
      icon={dark ? "sun" : "moon"}
      size={18}
      label={dark ? "Light theme" : "Dark theme"}
      title={dark ? "Light theme" : "Dark theme"}
      onClick={() => {
        applyTheme(dark ? "light" : "dark");
        setDark(!dark);
      }}
    />
  );
}
