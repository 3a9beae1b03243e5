// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { client, data, type Node } from "../../api/client";
import { useKeys } from "../../api/queries";
import { plural } from "../../lib/format";
import { Card } from "../../ui/Card";
import { Check } from "../../ui/Check";
import { FormDialog } from "../../ui/Dialog";
import { Facts } from "../../ui/Facts";
import { Input } from "../../ui/Field";
import { Loading } from "../../ui/Loading";
import { Problem } from "../../ui/Problem";
import { When } from "../../ui/When";

/** EVERY is how often the progress is read, in milliseconds. */
const EVERY = 3000;

/** DrainNode begins to drain a node. */
export function DrainNode({ node, close, done }: { node: Node; close: () => void; done: () => Promise<void> }) {
  const [moves, setMoves] = useState("4");
  const [ofTenant, setOfTenant] = useState("2");
  const [restart, setRestart] = useState(false);
  return (
    <FormDialog
      title={`Drain ${node.name}`}
      submit="Drain the node"
      close={close}
      run={async () => {
        const body = { maxMoves: Number(moves), maxMovesPerTenant: Number(ofTenant), restart };
        await data(client.PUT("/v1/admin/nodes/{nodeId}/drain", { params: { path: { nodeId: node.id } }, body }));
        await done();
      }}
    >
      <p>Moves the node&rsquo;s pods to other nodes, and schedules no pods to it. Pods with volumes move while they run.</p>
      <Input label="Moves at the same time" value={moves} onChange={setMoves} inputMode="numeric" />
      <Input label="Moves of one tenant at the same time" value={ofTenant} onChange={setOfTenant} inputMode="numeric" />
      <Check label="Stop pods that cannot move while they run" checked={restart} onChange={setRestart} />
    </FormDialog>
  );
}

/** DrainProgress shows how far the drain of a node is, and which pods are still there, and why. */
export function DrainProgress({ node }: { node: Node }) {
  const keys = useKeys();
  const drain = useQuery({
    queryKey: keys.drain(node.id),
    queryFn: () => data(client.GET("/v1/admin/nodes/{nodeId}/drain", { params: { path: { nodeId: node.id } } })),
    refetchInterval: EVERY,
  });
  const d = drain.data;
  return (
    <Card title={d?.state === "Drained" ? "Drained" : "Drain"}>
      <Problem error={drain.error} retry={() => void drain.refetch()} />
      {drain.isPending && <Loading what="Loading the drain" />}
      {d && (
        <Facts
          of={[
            ["Began", <When key="began" at={d.startedAt} />],
            ["Ended", d.drainedAt && <When key="ended" at={d.drainedAt} />],
            ["Moved", plural(d.moved, "pod")],
            ["Left", `${plural(d.pods, "pod")}, ${d.moving} moving`],
            ["Being removed", d.leaving ? plural(d.leaving, "pod") : undefined],
            ...d.blocked.map((p): [string, string] => [`Pod ${p.name}`, `${p.message} (${plural(p.attempts, "attempt")})`]),
          ]}
        />
      )}
    </Card>
  );
}
