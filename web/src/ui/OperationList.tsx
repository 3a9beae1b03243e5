// SPDX-License-Identifier: Apache-2.0

import { Link } from "@tanstack/react-router";
import { type ReactNode, useMemo, useState } from "react";
import { idempotent } from "../api/client";
import { cancelOperation, retryImport } from "../api/operations";
import { percent } from "../lib/format";
import { type Operation, refOf } from "../lib/operations";
import { Badge } from "./Badge";
import { Button } from "./Button";
import { FormDialog } from "./Dialog";
import { type List, ListPage } from "./ListPage";
import type { Column } from "./tableColumns";
import { toast } from "./toasts";
import { When } from "./When";

const titleOf = (o: Operation) => `${o.what[0]?.toUpperCase()}${o.what.slice(1)}`;

/** OperationList is a page of operations, with buttons that cancel and retry them. */
export function OperationList({
  list,
  canChange,
  changed,
  empty,
}: {
  list: List<Operation>;
  canChange: boolean;
  changed?: () => unknown; // after an operation was canceled or retried, if the list is not live
  empty: ReactNode;
}) {
  const [asked, setAsked] = useState<Operation>();
  const columns = useMemo(
    (): Column<Operation>[] => [
      { name: "Object", width: "minmax(130px, 1.6fr)", sort: refOf, cell: (o) => <ObjectLink of={o} /> },
      {
        name: "Operation",
        width: "minmax(96px, 0.7fr)",
        sort: titleOf,
        cell: (o) => (o.failed ? <Badge state={`${titleOf(o)} failed`} phase="Failed" /> : titleOf(o)),
      },
      { name: "Progress", width: "152px", sort: (o) => o.share ?? -1, cell: (o) => !o.failed && <Progress of={o} /> },
      { name: "Message", width: "minmax(0, 1.8fr)", sort: (o) => o.message ?? "", cell: (o) => <span className="muted">{o.message}</span> },
      {
        name: "Since",
        width: "92px",
        wide: true,
        sort: (o) => (o.since ? -Date.parse(o.since) : 0),
        cell: (o) => (o.since ? <When at={o.since} /> : ""),
      },
      ...(canChange
        ? [
            {
              name: "Actions",
              width: "92px",
              cell: (o: Operation) =>
                o.failed ? (
                  <Button small aria-label={`Retry the ${o.what} of ${o.name}`} onClick={() => setAsked(o)}>
                    Retry
                  </Button>
                ) : (
                  <Button small aria-label={`Cancel the ${o.what} of ${o.name}`} unless={o.notCanceled} onClick={() => setAsked(o)}>
                    Cancel
                  </Button>
                ),
            },
          ]
        : []),
    ],
    [canChange],
  );
  return (
    <ListPage
      title="Operations"
      one="operation"
      list={list}
      columns={columns}
      sortedBy={["Object", false]}
      id={(o) => `${o.kind}/${o.id}`}
      nameOf={refOf}
      search="Object, operation or ID"
      matches={(o, q) => refOf(o).toLowerCase().includes(q) || titleOf(o).toLowerCase().includes(q) || o.id === q}
      none="No operations in progress"
      empty={empty}
    >
      {asked && <EndOrRetry of={asked} close={() => setAsked(undefined)} changed={changed} />}
    </ListPage>
  );
}

/** ObjectLink leads to the page that shows the object of an operation. */
function ObjectLink({ of: o }: { of: Operation }) {
  switch (o.kind) {
    case "pod":
      return (
        <Link to="/pods/$podId" params={{ podId: o.page }} className="break">
          {refOf(o)}
        </Link>
      );
    case "volume":
    case "snapshot":
      return (
        <Link to="/volumes/$volumeId" params={{ volumeId: o.page }} className="break">
          {refOf(o)}
        </Link>
      );
    case "image":
      return (
        <Link to="/images/$imageId" params={{ imageId: o.page }} className="break">
          {refOf(o)}
        </Link>
      );
    case "node":
      return (
        <Link to="/admin/nodes/$nodeId" params={{ nodeId: o.page }} className="break">
          {refOf(o)}
        </Link>
      );
  }
}

function Progress({ of: o }: { of: Operation }) {
  return (
    <>
      <progress aria-label={`${titleOf(o)} of ${o.name}`} value={o.share} />{" "}
      {o.share !== undefined && <span className="muted number">{percent(o.share)}</span>}
    </>
  );
}

/** CONSEQUENCES say what happens when an operation is canceled. */
const CONSEQUENCES: Record<Operation["kind"], string> = {
  pod: "The pod is stopped. It keeps its name, its address and its volumes, and can be started again.",
  volume: "The volume is deleted.",
  snapshot: "The snapshot is deleted. Its volume is not affected.",
  image: "The image is deleted. It can be imported again.",
  node: "The pods that are still on the node stay there. Those that have moved do not return.",
};

/** EndOrRetry asks for confirmation, then retries an operation that has failed, or cancels one that is in progress. */
function EndOrRetry({ of: o, close, changed }: { of: Operation; close: () => void; changed?: () => unknown }) {
  const [key] = useState(idempotent);
  if (o.failed) {
    const retry = async () => {
      await retryImport(o.name, key);
      toast(`${o.name} is being imported.`);
      await changed?.();
    };
    return (
      <FormDialog title={`Retry the import of ${o.name}?`} submit="Retry" close={close} run={retry}>
        <p>The image is imported without a login. If its registry wants one, use Retry on the image&rsquo;s page.</p>
      </FormDialog>
    );
  }
  const cancel = async () => {
    await cancelOperation(o);
    toast(`The ${o.what} of ${o.name} is canceled.`);
    await changed?.();
  };
  return (
    <FormDialog
      title={`Cancel the ${o.what} of ${o.name}?`}
      submit={`Cancel the ${o.what}`}
      back="Go back"
      danger
      close={close}
      run={cancel}
    >
      <p>{CONSEQUENCES[o.kind]}</p>
    </FormDialog>
  );
}
