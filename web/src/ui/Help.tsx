import { useSession } from "../api/session";
import { Dialog } from "./Dialog";
import type { Place } from "./Shell";

/** Help lists the keys, and where to read on. */
export function Help({ close, places }: { close: () => void; places: Place[] }) {
  const session = useSession();
  const writes = session.kind === "tenant" && session.role !== "viewer";
  const keys: [string[], string][] = [
    [["/"], "search for a pod, a volume, an image or a page"],
    [["?"], "this help"],
    ...(writes ? ([[["c"], "order a pod"]] as [string[], string][]) : []),
    ...places.map((p): [string[], string] => [["g", p.key], p.name]),
    [["Esc"], "close what is open"],
  ];
  return (
    <Dialog title="Keys" close={close}>
      <dl className="keys">
        {keys.map(([k, what]) => (
          <div key={what}>
            <dt>
              {k.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p className="hint">
        Everything here can be done with the <code>husk</code> command and the REST API too; the pages show how. This server is at{" "}
        <code>{location.origin}</code>.
      </p>
    </Dialog>
  );
}
