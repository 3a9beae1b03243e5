// SPDX-License-Identifier: Apache-2.0

import { useEffect, useRef, useState } from "react";
import type { Pod } from "../../api/client";
import { type Ending, openSession } from "../../api/sessionSocket";
import { Button } from "../../ui/Button";
import { Empty } from "../../ui/Empty";
import { Filters } from "../../ui/Filters";
import { Hint } from "../../ui/Hint";
import { Note } from "../../ui/Note";
import { sentence } from "../../ui/Problem";
import { openTerminal } from "../../ui/xterm";
import { Screen } from "./Screen";

/** ConsoleTab shows the output of the pod's kernel and husk-init. It accepts no input. */
export default function ConsoleTab({ pod }: { pod: Pod }) {
  const host = useRef<HTMLDivElement>(null);
  const [attempt, setAttempt] = useState(0);
  const [ended, setEnded] = useState<Ending>();
  const placed = !!pod.status.nodeName;

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new attempt opens a new session
  useEffect(() => {
    const into = host.current;
    if (!into || !placed) return;
    setEnded(undefined);
    const { terminal, dispose } = openTerminal(into, { readOnly: true, label: "Console of the virtual machine" });
    const socket = openSession(`/v1/pods/${pod.id}/console`, { output: (bytes) => terminal.write(bytes.slice()), ended: setEnded });
    return () => {
      socket.close();
      dispose();
    };
  }, [pod.id, placed, attempt]);

  if (!placed)
    return (
      <Empty title="The virtual machine has not started yet">
        <p>The console starts once the pod is scheduled to a node and its virtual machine starts.</p>
      </Empty>
    );
  return (
    <>
      <Filters>
        <Hint as="span">Output of the kernel and husk-init. This console is read-only. Use Terminal for a shell.</Hint>
        {ended && (
          <Note as="output">
            {"code" in ended ? "The console has ended." : sentence(ended.detail)}{" "}
            <Button small onClick={() => setAttempt(attempt + 1)}>
              Reconnect
            </Button>
          </Note>
        )}
      </Filters>
      <Screen ref={host} />
    </>
  );
}
