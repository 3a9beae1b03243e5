// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { client, data } from "../api/client";
import { useKeys } from "../api/queries";
import { useSession } from "../api/session";
import { Dialog } from "./Dialog";
import styles from "./Help.module.css";
import { Hint } from "./Hint";
import type { NavPage } from "./Shell";

/** Help lists the keyboard shortcuts and points to the other clients. */
export function Help({ close, pages }: { close: () => void; pages: NavPage[] }) {
  const session = useSession();
  const keys = useKeys();
  const platform = useQuery({ queryKey: keys.about, queryFn: () => data(client.GET("/v1/platform")) });
  const writes = session.kind === "tenant" && session.role !== "viewer";
  const shortcuts: [string[], string][] = [
    [["/"], "search for a pod, a volume, an image or a page"],
    [["?"], "show this help"],
    ...(writes ? ([[["c"], "create a pod"]] as [string[], string][]) : []),
    ...pages.map((p): [string[], string] => [["g", p.key], p.name]),
    [["Esc"], "close the dialog"],
  ];
  return (
    <Dialog title="Keyboard shortcuts" close={close}>
      <dl className={styles.keys}>
        {shortcuts.map(([k, what]) => (
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
      <Hint>
        You can also do everything on these pages with the <code>husk</code> command and the REST API. The API of this server is at{" "}
        <code>{location.origin}</code>.{platform.data && ` It runs Husk ${platform.data.version}.`}
      </Hint>
    </Dialog>
  );
}
