// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { client, data, idempotent, type Node, type PlacedPod, type Schemas } from "../../api/client";
import { useKeys } from "../../api/queries";
import { cores, coresOf, dateTime, mebibytes, plural } from "../../lib/format";
import { Badge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { Copy } from "../../ui/Copy";
import { Dialog } from "../../ui/Dialog";
import { DialogActions } from "../../ui/DialogActions";
import { Empty } from "../../ui/Empty";
import { Filters } from "../../ui/Filters";
import { Hint } from "../../ui/Hint";
import { Loading } from "../../ui/Loading";
import { Meter } from "../../ui/Meter";
import { Meters } from "../../ui/Meters";
import { Note } from "../../ui/Note";
import { PageHead } from "../../ui/PageHead";
import { Panel } from "../../ui/Panel";
import { Problem } from "../../ui/Problem";
import { toastError } from "../../ui/toasts";
import { When } from "../../ui/When";
import styles from "./Nodes.module.css";
import { Packing } from "./Packing";

const EVERY = 5_000;

/** usePlaced returns the pods of all tenants. It fetches every page of the list. */
export function usePlaced(query: { nodeId?: string; tenantId?: string } = {}) {
  const keys = useKeys();
  return useQuery({
    queryKey: keys.placed(query),
    queryFn: async () => {
      const all: PlacedPod[] = [];
      let cursor: string | undefined;
      do {
        const page = await data(
          client.GET("/v1/admin/pods", { params: { query: { ...query, limit: 1000, ...(cursor ? { cursor } : {}) } } }),
        );
        all.push(...page.items);
        cursor = page.nextCursor;
      } while (cursor);
      return all;
    },
    refetchInterval: EVERY,
  });
}

export function useNodes() {
  const keys = useKeys();
  return useQuery({
    queryKey: keys.nodes,
    queryFn: async () => (await data(client.GET("/v1/admin/nodes"))).items,
    refetchInterval: EVERY,
  });
}

/** useUnknownObjects returns what exists in Ceph and was never in the database, and what no operator has decided about. */
function useUnknownObjects() {
  const keys = useKeys();
  return useQuery({
    queryKey: keys.unknownObjects,
    queryFn: async () => (await data(client.GET("/v1/admin/unknown-objects"))).items.filter((o) => !o.approved),
    refetchInterval: 60_000,
  });
}

/** Nodes shows the cluster to operators: each node with its state, its capacity and a box for each of its pods. */
export function Nodes() {
  const nodes = useNodes();
  const pods = usePlaced();
  const unknown = useUnknownObjects();
  const [token, setToken] = useState<Schemas["JoinToken"]>();
  const [q, setQ] = useState("");
  const byNode = useMemo(() => Map.groupBy(pods.data ?? [], (p) => p.nodeId ?? ""), [pods.data]);
  const join = async () => setToken(await data(client.POST("/v1/admin/join-tokens", { params: { header: idempotent() }, body: {} })));
  const shown = (nodes.data ?? []).filter((n) =>
    `${n.name} ${n.state} ${n.pool ?? ""} ${Object.entries(n.labels)
      .map((l) => l.join("="))
      .join(" ")}`
      .toLowerCase()
      .includes(q.toLowerCase()),
  );
  const sum = (of: (n: Node) => number) => (nodes.data ?? []).filter((n) => n.state === "Ready").reduce((s, n) => s + of(n), 0);
  const waiting = (pods.data ?? []).filter((p) => !p.nodeId && p.phase === "Pending").length;
  const addNode = (
    <Button look="primary" onClick={() => join().catch((err) => toastError("The join token was not created", err))}>
      Add a node
    </Button>
  );
  return (
    <>
      <PageHead
        title="Nodes"
        lead={
          nodes.data &&
          `${plural(nodes.data.length, "node")}, ${nodes.data.filter((n) => n.state === "Ready").length} ready; ${plural(pods.data?.length ?? 0, "pod")}${waiting > 0 ? `, ${waiting} pending` : ""}`
        }
      >
        {addNode}
      </PageHead>
      <Problem error={nodes.error ?? pods.error} retry={() => void Promise.all([nodes.refetch(), pods.refetch()])} />
      {(unknown.data?.length ?? 0) > 0 && (
        <Note>
          {plural(unknown.data?.length ?? 0, "object")} in Ceph: unknown to the database, because it was restored from an older backup. Husk
          keeps such volumes, snapshots and images until an operator decides: see <code>husk unknown-objects</code>.
        </Note>
      )}
      {nodes.isPending && <Loading />}
      {nodes.data?.length === 0 && (
        <Empty title="No nodes yet" action={addNode}>
          <p>A node is a machine with KVM and libvirt that runs the agent. It joins with a one-time token.</p>
        </Empty>
      )}
      {(nodes.data?.length ?? 0) > 0 && (
        <>
          <Card title="Capacity of ready nodes">
            <Meters>
              <Meter
                label="CPU"
                used={sum((n) => n.allocated.cpuMillis)}
                limit={sum((n) => n.schedulableCPUMillis)}
                show={(n) => `${coresOf(n)}`}
              />
              <Meter label="Memory" used={sum((n) => n.allocated.memoryMiB)} limit={sum((n) => n.capacity.memoryMiB)} show={mebibytes} />
            </Meters>
          </Card>
          <Filters>
            <input
              type="search"
              aria-label="Filter by name, state, pool or label"
              placeholder="Name, state, pool or label"
              value={q}
              onChange={(e) => setQ(e.target.value)}
            />
          </Filters>
          <ul className={styles.grid}>
            {shown.slice(0, 400).map((n) => (
              <Panel key={n.id} as="li">
                <div className={styles.head}>
                  <h2>
                    <Link to="/admin/nodes/$nodeId" params={{ nodeId: n.id }}>
                      {n.name}
                    </Link>
                  </h2>
                  <span>
                    {n.drain ? <Badge state={n.drain} /> : n.cordoned && <Badge state="Cordoned" />} <Badge state={n.state} />
                  </span>
                </div>
                <Packing node={n} pods={byNode.get(n.id) ?? []} />
                <p className="muted small">
                  {cores(n.allocated.cpuMillis)} of {coresOf(n.schedulableCPUMillis)}, {mebibytes(n.allocated.memoryMiB)} of{" "}
                  {mebibytes(n.capacity.memoryMiB)}
                  {n.pool && ` · pool ${n.pool}`} · heartbeat <When at={n.heartbeatAt} />
                </p>
              </Panel>
            ))}
          </ul>
          {shown.length > 400 && <p className="muted">{shown.length - 400} more nodes are not shown. Use the filter to find them.</p>}
          {shown.length === 0 && <Empty title="No nodes match" />}
        </>
      )}
      {token && (
        <Dialog title="Add a node" close={() => setToken(undefined)} stays>
          <Note>Copy this now. It is not shown again. The token is valid for one node until {dateTime(token.expiresAt)}.</Note>
          {token.command && (
            <>
              <p>Run this on the node, as root:</p>
              <p className={styles.command}>
                <Copy text={token.command} label="the command" />
              </p>
              {/HUSK_SERVER|OVN_SOUTHBOUND/.test(token.command) && (
                <Hint>
                  Replace HUSK_SERVER and OVN_SOUTHBOUND. Servers with <code>--agent-url</code> and <code>--node-southbound</code> fill them
                  in.
                </Hint>
              )}
            </>
          )}
          <Hint>
            With the package: write the token, <Copy text={token.token} shown={`${token.token.slice(0, 12)}…`} label="the join token" />, to{" "}
            <code>join-token</code> in <code>/etc/husk/agent.yaml</code>, and run <code>systemctl enable --now husk-agent</code>. See
            docs/install.md for details.
          </Hint>
          <DialogActions>
            <Button look="primary" onClick={() => setToken(undefined)}>
              I have copied it
            </Button>
          </DialogActions>
        </Dialog>
      )}
    </>
  );
}
