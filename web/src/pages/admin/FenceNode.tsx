// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { client, data, type Node } from "../../api/client";
import { useKeys } from "../../api/queries";
import { plural } from "../../lib/format";
import { Check } from "../../ui/Check";
import { FormDialog } from "../../ui/Dialog";
import { Facts } from "../../ui/Facts";
import { Loading } from "../../ui/Loading";
import { Problem } from "../../ui/Problem";

/** FenceNode shows what is cut off if the node is fenced, and fences it. */
export function FenceNode({ node, close }: { node: Node; close: () => void }) {
  const keys = useKeys();
  const path = { nodeId: node.id };
  const [off, setOff] = useState(false);
  const plan = useQuery({
    queryKey: keys.fence(node.id),
    queryFn: () => data(client.GET("/v1/admin/nodes/{nodeId}/fence", { params: { path } })),
  });
  const unproven = plan.data?.unproven ?? 0;
  return (
    <FormDialog
      title={`Fence ${node.name}`}
      submit="Fence the node"
      close={close}
      run={async () => {
        await data(client.PUT("/v1/admin/nodes/{nodeId}/fence", { params: { path }, body: { machineIsOff: off } }));
      }}
      wide
    >
      <p>Cuts the node off from its pods&rsquo; volumes, and starts its pods on other nodes. Its machines end.</p>
      <Problem error={plan.error} retry={() => void plan.refetch()} />
      {plan.isPending && <Loading what="Looking at the node" />}
      {plan.data && (
        <Facts
          of={[
            ["Pods", plural(plan.data.pods, "pod")],
            ["Ceph clients", plan.data.addresses.join(", ") || "none"],
            ["Pods with unknown clients", unproven || undefined],
          ]}
        />
      )}
      <Check label="The machine has no power" checked={off} onChange={setOff} />
      {(off || unproven > 0) && (
        <p>Husk then does not wait for proof that the node does not write. If it has power after all, volumes can be damaged.</p>
      )}
    </FormDialog>
  );
}
