// SPDX-License-Identifier: Apache-2.0

import { useState } from "react";
import { client, data, type Schemas } from "../../api/client";
import { coresOf, mebibytes, plural } from "../../lib/format";
import { FormDialog } from "../../ui/Dialog";
import { Input, Select } from "../../ui/Field";
import { Hint } from "../../ui/Hint";
import { Note } from "../../ui/Note";
import { toast } from "../../ui/toasts";

/** Defragment first proposes which nodes can be emptied by moving pods, and then moves them. */
export function Defragment({ pools, close }: { pools: string[]; close: () => void }) {
  const [pool, setPool] = useState("");
  const [most, setMost] = useState("100");
  const [proposal, setProposal] = useState<Schemas["Defragmentation"]>();
  const ask = (dryRun: boolean) =>
    data(client.POST("/v1/admin/defragmentation", { body: { dryRun, maxMoves: Number(most), ...(pool ? { pool } : {}) } }));
  const forget =
    <T,>(set: (v: T) => void) =>
    (v: T) => {
      set(v);
      setProposal(undefined);
    };
  const move = async () => {
    const done = await ask(false);
    toast(`${plural(done.moves, "pod")} will be moved.`);
  };
  return (
    <FormDialog
      title="Defragment"
      submit={proposal ? `Move ${plural(proposal.moves, "pod")}` : "Propose"}
      danger={!!proposal}
      close={close}
      run={proposal && proposal.moves > 0 ? move : async () => setProposal(await ask(true))}
      stays={!proposal || proposal.moves === 0}
    >
      <Hint>
        Nodes are drained by moving their pods to other nodes, so that large pods fit again. Pods that cannot migrate live restart.
      </Hint>
      <Select
        label="Pool"
        value={pool}
        onChange={forget(setPool)}
        options={[["", "Every pool"], ...pools.map((p): [string, string] => [p, p])]}
      />
      <Input label="Moves at most" type="number" min={1} max={100_000} value={most} onChange={forget(setMost)} required />
      {proposal && (
        <Note as="div" role="status">
          {proposal.freed.length === 0
            ? "No node can be emptied with so many moves."
            : `${plural(proposal.moves, "move")} would empty ${plural(proposal.freed.length, "node")}: ${proposal.freed
                .map(
                  (f) =>
                    `${f.nodeName} (${plural(f.moves.length, "move")}, gains ${coresOf(f.gain.cpuMillis)} and ${mebibytes(f.gain.memoryMiB)})`,
                )
                .join("; ")}.`}
        </Note>
      )}
    </FormDialog>
  );
}
