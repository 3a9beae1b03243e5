// SPDX-License-Identifier: Apache-2.0

// Runs xterm.js under a content security policy that forbids inline styles. xterm.js writes its styles into style elements, and colours that
// are not in its palette into style attributes. This file makes it put them into a constructed style sheet and into the elements' style
// declarations (CSSOM, 6.3 and 6.6), which the policy allows.
import { FitAddon } from "@xterm/addon-fit";
import { type ITheme, Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";
import { isDark, onThemeChange } from "./theme";

const DARK: ITheme = {
  background: "#10120f",
  foreground: "#e7e9e3",
  cursor: "#62cdb1",
  cursorAccent: "#10120f",
  selectionBackground: "#3b5a50",
};
const LIGHT: ITheme = {
  background: "#ffffff",
  foreground: "#1c1d1a",
  cursor: "#0b6b57",
  cursorAccent: "#ffffff",
  selectionBackground: "#bfe0d6",
  yellow: "#7a5c00",
  green: "#1c6e3d",
  cyan: "#0b6b76",
  brightBlack: "#5b5e57",
  white: "#5b5e57",
  brightWhite: "#1c1d1a",
};

/** sheetFor changes an element so that its text goes into a constructed style sheet until the element is removed. */
function sheetFor(element: HTMLElement): HTMLElement {
  const sheet = new CSSStyleSheet();
  const adopted = () => document.adoptedStyleSheets.filter((s) => s !== sheet);
  Object.defineProperty(element, "textContent", {
    get: () => "",
    set: (text: string) => {
      sheet.replaceSync(text);
      document.adoptedStyleSheets = [...adopted(), sheet];
    },
  });
  element.remove = () => {
    document.adoptedStyleSheets = adopted();
    Element.prototype.remove.call(element);
  };
  return element;
}

// xterm.js sets the style attribute of the elements of its text. This does the same with a declaration.
HTMLSpanElement.prototype.setAttribute = function (name: string, value: string) {
  if (name === "style") this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
};

/** withSheets makes xterm.js use the changed elements for its styles. xterm.js creates all of its style elements when it is opened, and for some of them it ignores its option documentOverride. */
function withSheets(open: () => void) {
  const make = document.createElement.bind(document);
  const own = document as { createElement?: unknown };
  own.createElement = (tag: string, options?: ElementCreationOptions) =>
    tag === "style" ? sheetFor(make("template")) : make(tag, options);
  try {
    open();
  } finally {
    delete own.createElement; // restores the method of the prototype
  }
}

/** acceptInserted passes on text that was inserted without a key, such as by an emoji picker. With screenReaderMode, xterm.js ignores it. */
function acceptInserted(terminal: Terminal) {
  let key = false; // xterm.js has got what is inserted from the key
  terminal.textarea?.addEventListener("keydown", () => {
    key = true;
  });
  terminal.textarea?.addEventListener("keyup", () => {
    key = false;
  });
  terminal.textarea?.addEventListener("input", (e) => {
    const { inputType, data, isComposing } = e as InputEvent;
    if (inputType !== "insertText" || !data || isComposing || key) return;
    terminal.input(data);
    if (terminal.textarea) terminal.textarea.value = ""; // xterm.js takes what follows the old text for the result of an input method
  });
}

/** openTerminal opens a terminal in an element and fits it to the element's size. Its output cannot set a title or access the clipboard. */
export function openTerminal(
  into: HTMLElement,
  options: { readOnly?: boolean; label: string; resized?: (cols: number, rows: number) => void },
) {
  const terminal = new Terminal({
    disableStdin: options.readOnly,
    convertEol: false,
    cursorBlink: !options.readOnly,
    fontFamily: "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace",
    fontSize: 13,
    scrollback: 5_000,
    minimumContrastRatio: 4.5,
    screenReaderMode: true,
    linkHandler: { activate: () => undefined }, // links in a pod's output are not opened
    theme: isDark() ? DARK : LIGHT,
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  withSheets(() => terminal.open(into));
  terminal.textarea?.setAttribute("aria-label", options.label);
  if (!options.readOnly) acceptInserted(terminal);
  if (options.resized) terminal.onResize(({ cols, rows }) => options.resized?.(cols, rows));
  const observer = new ResizeObserver(() => fit.fit());
  observer.observe(into);
  fit.fit();
  const forget = onThemeChange(() => {
    terminal.options.theme = isDark() ? DARK : LIGHT;
  });
  return {
    terminal,
    dispose() {
      forget();
      observer.disconnect();
      terminal.dispose();
    },
  };
}
