// SPDX-License-Identifier: Apache-2.0

// The theme: light, dark, or the same as the system's.
export type Theme = "system" | "light" | "dark";

const STORAGE = "husk.theme";

export function theme(): Theme {
  const kept = localStorage.getItem(STORAGE);
  return kept === "light" || kept === "dark" ? kept : "system";
}

export function applyTheme(to: Theme = theme()) {
  if (to === "system") localStorage.removeItem(STORAGE);
  else localStorage.setItem(STORAGE, to);
  document.documentElement.dataset.theme = isDark(to) ? "dark" : "light";
}

/** onThemeChange calls a function after each change of the theme, and returns a function that ends this. */
export function onThemeChange(changed: () => void) {
  const observer = new MutationObserver(changed);
  observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  return () => observer.disconnect();
}

export const isDark = (of: Theme = theme()) => (of === "system" ? matchMedia("(prefers-color-scheme: dark)").matches : of === "dark");

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => applyTheme());
