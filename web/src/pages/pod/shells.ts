// SPDX-License-Identifier: Apache-2.0

// The shells of this browser tab. A shell continues while another tab of the pod's page, or another page, is open. It ends with the login
// session, when it is closed, and when too many others are open.
import { keyOf, onSessionsChange, sessions, useSession } from "../../api/session";
import { type Ending, openSession, type SessionSocket } from "../../api/sessionSocket";
import { openTerminal } from "../../ui/xterm";
import styles from "./Screen.module.css";

const MAX_SHELLS = 6;

// bash if the container has it, otherwise sh.
const SHELL = ["/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash || exec sh"];

export interface Shell {
  element: HTMLElement; // in the page while its tab is open
  ended?: Ending;
  subscribe: (listener: () => void) => () => void;
  focus: () => void;
}

interface Held extends Shell {
  owner: string; // the login session
  close: () => void;
}

const shells = new Map<string, Held>(); // the least recently used first

onSessionsChange(() => {
  const known = new Set(sessions().map(keyOf));
  for (const [key, shell] of shells) if (!known.has(shell.owner)) drop(key);
});

function drop(key: string) {
  shells.get(key)?.close();
  shells.delete(key);
}

/** openShell returns the shell in a container, and starts it in the given element if it is not open yet, or if a new one is wanted. */
export function openShell(owner: string, podId: string, container: string, into: HTMLElement, again = false): Shell {
  const key = `${owner} ${podId} ${container}`;
  if (again) drop(key);
  const known = shells.get(key);
  shells.delete(key);
  if (known) into.append(known.element);
  const shell = known ?? start(owner, podId, container, into);
  shells.set(key, shell);
  const [oldest] = shells.keys();
  if (shells.size > MAX_SHELLS && oldest) drop(oldest);
  return shell;
}

function start(owner: string, podId: string, container: string, into: HTMLElement): Held {
  const element = document.createElement("div");
  element.className = styles.shell ?? "";
  into.append(element);
  const listeners = new Set<() => void>();
  let socket: SessionSocket | undefined;
  const { terminal, dispose } = openTerminal(element, {
    label: `Terminal in ${container}`,
    resized: (cols, rows) => socket?.resize(cols, rows),
  });
  const shell: Held = {
    owner,
    element,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    focus: () => terminal.focus(),
    close: () => {
      socket?.close();
      dispose();
      element.remove();
    },
  };
  const query = new URLSearchParams({ container, stdin: "true", tty: "true", cols: String(terminal.cols), rows: String(terminal.rows) });
  for (const word of SHELL) query.append("command", word);
  query.append("env", "TERM=xterm-256color");
  query.append("env", "COLORTERM=truecolor");
  socket = openSession(`/v1/pods/${podId}/exec?${query}`, {
    open: () => socket?.resize(terminal.cols, terminal.rows),
    output: (bytes) => terminal.write(bytes.slice()),
    ended: (ending) => {
      shell.ended = ending;
      terminal.options.disableStdin = true;
      for (const listener of listeners) listener();
    },
  });
  terminal.onData((text) => socket?.send(text));
  return shell;
}

/** useShellOwner identifies the login session whose shells are shown. */
export const useShellOwner = () => keyOf(useSession());
