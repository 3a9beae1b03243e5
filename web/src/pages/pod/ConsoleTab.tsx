import { useEffect, useRef, useState } from "react";
import type { Pod } from "../../api/client";
import { type Ending, openSession } from "../../api/sessionSocket";
import { Button } from "../../ui/Button";
import { sentence } from "../../ui/Problem";
import { Empty } from "../../ui/parts";
import { openTerminal } from "../../ui/xterm";

/** ConsoleTab is what the pod's kernel and init print. Nothing can be typed there. */
export default function ConsoleTab({ pod }: { pod: Pod }) {
  const host = useRef<HTMLDivElement>(null);
  const [life, setLife] = useState(0);
  const [ended, setEnded] = useState<Ending>();
  const placed = !!pod.status.nodeName;

  // biome-ignore lint/correctness/useExhaustiveDependencies: life opens a new one
  useEffect(() => {
    const into = host.current;
    if (!into || !placed) return;
    setEnded(undefined);
    const { terminal, dispose } = openTerminal(into, { readOnly: true, label: "Console of the machine" });
    const socket = openSession(`/v1/pods/${pod.id}/console`, { output: (bytes) => terminal.write(bytes.slice()), ended: setEnded });
    return () => {
      socket.close();
      dispose();
    };
  }, [pod.id, placed, life]);

  if (!placed)
    return (
      <Empty title="There is no machine yet">
        <p>The console begins when the pod has a place and its machine starts.</p>
      </Empty>
    );
  return (
    <>
      <div className="filters">
        <span className="hint">What the kernel and husk-init print. Nothing can be typed here; a shell is under Terminal.</span>
        {ended && (
          <output className="note">
            {"code" in ended ? "The console has ended." : sentence(ended.detail)}{" "}
            <Button small onClick={() => setLife(life + 1)}>
              Open again
            </Button>
          </output>
        )}
      </div>
      <div className="terminal" ref={host} />
    </>
  );
}
