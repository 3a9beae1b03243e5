// xterm.js under a policy that allows no style of the page itself: it writes its style sheet into elements, which are given a constructed sheet
// instead (CSSOM, 6.3), for which the policy has no objection.
import { FitAddon } from "@xterm/addon-fit";
import { type ITheme, Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";
import { isDark } from "./theme";

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

/** sheetFor makes an element whose text goes into a constructed sheet, for as long as the element is there. */
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

/** withSheets lets xterm.js make its style elements as such sheets. It makes all of them when it is opened, some past its option documentOverride. */
function withSheets(open: () => void) {
  const make = document.createElement.bind(document);
  const own = document as { createElement?: unknown };
  own.createElement = (tag: string, options?: ElementCreationOptions) =>
    tag === "style" ? sheetFor(make("template")) : make(tag, options);
  try {
    open();
  } finally {
    delete own.createElement; // what its prototype has is seen again
  }
}

/** openTerminal puts a terminal into an element and keeps it as large. What is written to it can set no title and reach no clipboard. */
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
    linkHandler: { activate: () => undefined }, // a link that a pod prints leads nowhere
    theme: isDark() ? DARK : LIGHT,
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  withSheets(() => terminal.open(into));
  terminal.textarea?.setAttribute("aria-label", options.label);
  if (options.resized) terminal.onResize(({ cols, rows }) => options.resized?.(cols, rows));
  const observer = new ResizeObserver(() => fit.fit());
  observer.observe(into);
  fit.fit();
  return {
    terminal,
    dispose() {
      observer.disconnect();
      terminal.dispose();
    },
  };
}
