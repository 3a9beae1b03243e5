import { useEffect, useRef, useState } from "react";
import type { Pod } from "../../api/client";
import { type Ending, openSession, type SessionSocket } from "../../api/sessionSocket";
import { Button } from "../../ui/Button";
import { sentence } from "../../ui/Problem";
import { Copy, Empty } from "../../ui/parts";
import { openTerminal } from "../../ui/xterm";
import { ContainerPicker } from "./ContainerPicker";

// The best shell that there is.
const SHELL = ["/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash || exec sh"];

const told = (e: Ending) => ("code" in e ? `The shell has ended with code ${e.code}.` : `${sentence(e.detail)} (${e.problem})`);

/** TerminalTab is a shell in a container. */
export default function TerminalTab({ pod, container, pick }: { pod: Pod; container: string; pick: (name: string) => void }) {
  const host = useRef<HTMLDivElement>(null);
  const [life, setLife] = useState(0);
  const [ended, setEnded] = useState<Ending>();
  const running = pod.status.phase === "Running";

  // biome-ignore lint/correctness/useExhaustiveDependencies: life opens a new one
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
  }, [pod.id, container, running, life]);

  if (!running)
    return (
      <Empty title="The pod does not run">
        <p>A shell can be had while a pod is Running; it is {pod.status.phase}.</p>
      </Empty>
    );
  return (
    <>
      <div className="filters">
        <ContainerPicker {...{ pod, container, pick }} />
        {ended && (
          <output className="note">
            {told(ended)}{" "}
            <Button small onClick={() => setLife(life + 1)}>
              Open another
            </Button>
          </output>
        )}
        <span className="hint">
          <Copy text={`husk exec -it ${pod.name}${pod.spec.containers.length > 1 ? ` -c ${container}` : ""} -- sh`} label="the command" />
        </span>
      </div>
      <div className="terminal" ref={host} />
    </>
  );
}
