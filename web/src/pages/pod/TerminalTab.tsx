// SPDX-License-Identifier: Apache-2.0

import { useEffect, useRef, useState } from "react";
import type { Pod } from "../../api/client";
import { type Ending, openSession, type SessionSocket } from "../../api/sessionSocket";
import { Button } from "../../ui/Button";
import { sentence } from "../../ui/Problem";
import { Copy, Empty } from "../../ui/parts";
import { openTerminal } from "../../ui/xterm";
import { ContainerPicker } from "./ContainerPicker";

// bash if the container has it, otherwise sh.
const SHELL = ["/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash || exec sh"];

const describe = (e: Ending) => ("code" in e ? `The shell exited with code ${e.code}.` : `${sentence(e.detail)} (${e.problem})`);

/** TerminalTab runs a shell in a container. */
export default function TerminalTab({ pod, container, pick }: { pod: Pod; container: string; pick: (name: string) => void }) {
  const host = useRef<HTMLDivElement>(null);
  const [attempt, setAttempt] = useState(0);
  const [ended, setEnded] = useState<Ending>();
  const running = pod.status.phase === "Running";

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new attempt opens a new session
  useEffect(() => {
    const into = host.current;
    if (!into || !running) return;
    setEnded(undefined);
    let socket: SessionSocket | undefined;
    const { terminal, dispose } = openTerminal(into, {
      label: `Terminal in ${container}`,
      resized: (cols, rows) => socket?.resize(cols, rows),
    });
    const query = new URLSearchParams({ container, stdin: "true", tty: "true", cols: String(terminal.cols), rows: String(terminal.rows) });
    for (const word of SHELL) query.append("command", word);
    query.append("env", "TERM=xterm-256color");
    socket = openSession(`/v1/pods/${pod.id}/exec?${query}`, {
      open: () => socket?.resize(terminal.cols, terminal.rows),
      output: (bytes) => terminal.write(bytes.slice()),
      ended: setEnded,
    });
    terminal.onData((text) => socket?.send(text));
    terminal.focus();
    return () => {
      socket?.close();
      dispose();
    };
  }, [pod.id, container, running, attempt]);

  if (!running)
    return (
      <Empty title="The pod is not running">
        <p>A terminal needs a running pod. This pod is {pod.status.phase}.</p>
      </Empty>
    );
  return (
    <>
      <div className="filters">
        <ContainerPicker {...{ pod, container, pick }} />
        {ended && (
          <output className="note">
            {describe(ended)}{" "}
            <Button small onClick={() => setAttempt(attempt + 1)}>
              Reconnect
            </Button>
          </output>
        )}
        <span className="hint">
          <Copy text={`husk exec -it ${pod.name}${pod.spec.containers.length > 1 ? ` -c ${container}` : ""} -- sh`} label="the command" />
        </span>
      </div>
      <div className="screen" ref={host} />
    </>
  );
}
