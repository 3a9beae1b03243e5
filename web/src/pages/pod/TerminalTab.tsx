// SPDX-License-Identifier: Apache-2.0

import { useLayoutEffect, useRef, useState } from "react";
import type { Pod } from "../../api/client";
import type { Ending } from "../../api/sessionSocket";
import { Button } from "../../ui/Button";
import { Copy } from "../../ui/Copy";
import { Empty } from "../../ui/Empty";
import { Filters } from "../../ui/Filters";
import { Hint } from "../../ui/Hint";
import { Note } from "../../ui/Note";
import { sentence } from "../../ui/Problem";
import { ContainerPicker } from "./ContainerPicker";
import { Screen } from "./Screen";
import { openShell, useShellOwner } from "./shells";

const describe = (e: Ending) => ("code" in e ? `The shell exited with code ${e.code}.` : `${sentence(e.detail)} (${e.problem})`);

/** TerminalTab shows a shell in a container. The shell continues while another tab is open. */
export default function TerminalTab({ pod, container, pick }: { pod: Pod; container: string; pick: (name: string) => void }) {
  const host = useRef<HTMLDivElement>(null);
  const owner = useShellOwner();
  const again = useRef(false);
  const [attempt, setAttempt] = useState(0);
  const [ended, setEnded] = useState<Ending>();
  const restart = () => {
    again.current = true;
    setAttempt(attempt + 1);
  };
  const running = pod.status.phase === "Running";

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new attempt opens a new shell
  useLayoutEffect(() => {
    const into = host.current;
    if (!into || !running) return;
    const shell = openShell(owner, pod.id, container, into, again.current);
    again.current = false;
    setEnded(shell.ended);
    const forget = shell.subscribe(() => setEnded(shell.ended));
    shell.focus();
    return () => {
      forget();
      shell.element.remove(); // the shell itself continues
    };
  }, [owner, pod.id, container, running, attempt]);

  if (!running)
    return (
      <Empty title="The pod is not running">
        <p>A terminal needs a running pod. This pod is {pod.status.phase}.</p>
      </Empty>
    );
  return (
    <>
      <Filters>
        <ContainerPicker {...{ pod, container, pick }} />
        {ended && <Note as="output">{describe(ended)}</Note>}
        <Button small onClick={restart}>
          {ended ? "Reconnect" : "New shell"}
        </Button>
        <Hint as="span">
          <Copy text={`husk exec -it ${pod.name}${pod.spec.containers.length > 1 ? ` -c ${container}` : ""} -- sh`} label="the command" />
        </Hint>
      </Filters>
      <Screen ref={host} />
    </>
  );
}
