// SPDX-License-Identifier: Apache-2.0

import { useQueries, useQueryClient } from "@tanstack/react-query";
import { client, data } from "../../api/client";
import { useKeys } from "../../api/queries";
import { ofDrain } from "../../lib/operations";
import { OperationList } from "../../ui/OperationList";
import { useNodes } from "./Nodes";

/** EVERY is how often the progress is read, in milliseconds. */
const EVERY = 3000;

/** Drains shows operators the drains of nodes that are in progress. */
export function Drains() {
  const keys = useKeys();
  const queries = useQueryClient();
  const nodes = useNodes();
  const draining = (nodes.data ?? []).filter((n) => n.drain === "Draining");
  const drains = useQueries({
    queries: draining.map((n) => ({
      queryKey: keys.drain(n.id),
      queryFn: () => data(client.GET("/v1/admin/nodes/{nodeId}/drain", { params: { path: { nodeId: n.id } } })),
      refetchInterval: EVERY,
    })),
  });
  const items = draining.map((n, i) => ofDrain(n, drains[i]?.data));
  return (
    <OperationList
      list={{ items, synced: nodes.isSuccess, broken: nodes.error ?? undefined }}
      canChange
      changed={() => queries.invalidateQueries({ queryKey: keys.nodes })}
      empty={<p>Drains of nodes are listed here while they are in progress. A node&rsquo;s page starts them.</p>}
    />
  );
}
