// SPDX-License-Identifier: Apache-2.0

import { useQueryClient } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { client, data, type Node, type PlacedPod } from "../../api/client";
import { useKeys } from "../../api/queries";
import { cores, coresOf, gibibytes, mebibytes } from "../../lib/format";
import { Badge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { Cards } from "../../ui/Cards";
import { Copy } from "../../ui/Copy";
import { DataTable } from "../../ui/DataTable";
import { FormDialog } from "../../ui/Dialog";
import { Empty } from "../../ui/Empty";
import { Facts } from "../../ui/Facts";
import { Input } from "../../ui/Field";
import { Labels } from "../../ui/Labels";
import { Loading } from "../../ui/Loading";
import { Meter } from "../../ui/Meter";
import { Meters } from "../../ui/Meters";
import { PageHead } from "../../ui/PageHead";
import { Pairs } from "../../ui/Pairs";
import { Problem } from "../../ui/Problem";
import type { Column } from "../../ui/tableColumns";
import { toast, toastError } from "../../ui/toasts";
import { When } from "../../ui/When";
import { Certificates } from "./Certificates";
import { DrainNode, DrainProgress } from "./DrainNode";
import { FenceNode } from "./FenceNode";
import { useNodes, usePlaced } from "./Nodes";
import { Packing } from "./Packing";

/** NodePage shows one node with its capacity and pods. Operators cordon and drain it there, and change its pool, labels and taints. */
export function NodePage() {
  const { nodeId } = useParams({ from: "/app/admin/nodes/$nodeId" });
  const nodes = useNodes();
  const node = nodes.data?.find((n) => n.id === nodeId);
  if (nodes.error) return <Problem error={nodes.error} retry={() => void nodes.refetch()} />;
  if (!nodes.data) return <Loading what="Loading the node" />;
  if (!node) return <Empty title="Node not found" action={<Link to="/admin/nodes">All nodes</Link>} />;
  return <Page node={node} />;
}

function Page({ node: n }: { node: Node }) {
  const keys = useKeys();
  const queries = useQueryClient();
  const pods = usePlaced({ nodeId: n.id });
  const [editing, setEditing] = useState(false);
  const [fencing, setFencing] = useState(false);
  const [draining, setDraining] = useState(false);
  const changed = () => queries.invalidateQueries({ queryKey: keys.nodes });
  const update = async (body: { pool?: string; labels?: Record<string, string>; taints?: string[]; cordoned?: boolean }) => {
    await client.PATCH("/v1/admin/nodes/{nodeId}", { params: { path: { nodeId: n.id } }, body });
    await changed();
  };
  const cancelDrain = async () => {
    await data(client.DELETE("/v1/admin/nodes/{nodeId}/drain", { params: { path: { nodeId: n.id } } }));
    await changed();
  };
  const columns = useMemo(
    (): Column<PlacedPod>[] => [
      { name: "Pod", width: "minmax(100px, 1.4fr)", sort: (p) => p.name, cell: (p) => <span title={p.id}>{p.name}</span> },
      {
        name: "Tenant",
        width: "minmax(80px, 1fr)",
        sort: (p) => p.tenantName,
        cell: (p) => (
          <Link to="/admin/tenants/$tenantId" params={{ tenantId: p.tenantId }}>
            {p.tenantName}
          </Link>
        ),
      },
      { name: "State", width: "112px", sort: (p) => p.phase, cell: (p) => <Badge state={p.phase} /> },
      {
        name: "Cores",
        width: "76px",
        numeric: true,
        wide: true,
        sort: (p) => p.resources.cpuMillis,
        cell: (p) => cores(p.resources.cpuMillis),
      },
      {
        name: "Memory",
        width: "150px",
        numeric: true,
        wide: true,
        sort: (p) => p.resources.memoryMiB,
        cell: (p) => `${mebibytes(p.resources.memoryMiB)} + ${mebibytes(p.vmmOverheadMiB)}`,
      },
      { name: "Priority", width: "84px", numeric: true, wide: true, sort: (p) => p.priority, cell: (p) => p.priority },
      { name: "Age", width: "92px", wide: true, sort: (p) => -Date.parse(p.createdAt), cell: (p) => <When at={p.createdAt} /> },
    ],
    [],
  );
  return (
    <>
      <PageHead
        title={
          <>
            {n.name} <Badge state={n.state} /> {n.drain ? <Badge state={n.drain} /> : n.cordoned && <Badge state="Cordoned" />}
          </>
        }
        lead={<Labels labels={n.labels} />}
      >
        <Button onClick={() => setFencing(true)}>Fence</Button>
        {n.drain ? (
          <Button
            onClick={() =>
              cancelDrain().then(
                () => toast(`${n.name} is no longer being drained.`),
                (err) => toastError("The drain was not canceled", err),
              )
            }
          >
            Cancel the drain
          </Button>
        ) : (
          <Button onClick={() => setDraining(true)}>Drain</Button>
        )}
        <Button onClick={() => setEditing(true)}>Pool, labels, taints</Button>
        <Button
          onClick={() =>
            update({ cordoned: !n.cordoned }).then(
              () => toast(n.cordoned ? `${n.name} accepts new pods again.` : `${n.name} gets no new pods. Its pods keep running.`),
              (err) => toastError("The node was not changed", err),
            )
          }
        >
          {n.cordoned ? "Uncordon" : "Cordon"}
        </Button>
      </PageHead>
      <Cards two>
        <Card title="Capacity">
          <Meters>
            <Meter label="CPU" used={n.allocated.cpuMillis} limit={n.schedulableCPUMillis} show={(x) => `${coresOf(x)}`} />
            <Meter label="Memory" used={n.allocated.memoryMiB} limit={n.capacity.memoryMiB} show={mebibytes} />
            {n.scratchGiB !== undefined && (
              <Meter label="Scratch disks" used={n.allocatedScratchGiB ?? 0} limit={n.scratchGiB} show={gibibytes} />
            )}
          </Meters>
          <Packing node={n} pods={pods.data ?? []} height={170} />
        </Card>
        <Card title="Details">
          <Facts
            of={[
              ["In this state", <When key="since" at={n.stateSince} />],
              ["Message", n.message],
              ["Heartbeat", <When key="heartbeat" at={n.heartbeatAt} />],
              ["Pool", n.pool],
              ["Taints", n.taints.join(", ")],
              [
                "Cores",
                `${cores(n.capacity.cpuMillis)}${n.schedulableCPUMillis !== n.capacity.cpuMillis ? ` (${cores(n.schedulableCPUMillis)} schedulable, with overcommit)` : ""}`,
              ],
              ["Memory for pods", mebibytes(n.capacity.memoryMiB)],
              ["Overhead per virtual machine", mebibytes(n.vmmOverheadMiB)],
              ["Capabilities of the agent", n.capabilities.join(", ") || "none"],
              ["Joined", <When key="joined" at={n.createdAt} />],
              ["ID", <Copy key="id" text={n.id} label="the ID" />],
            ]}
          />
        </Card>
      </Cards>
      {n.drain && <DrainProgress node={n} />}
      <Problem error={pods.error} retry={() => void pods.refetch()} />
      {pods.data?.length === 0 && <Empty title="No pods on this node" />}
      {(pods.data?.length ?? 0) > 0 && (
        <DataTable label="Pods" rows={pods.data ?? []} columns={columns} id={(p) => p.id} sortedBy={["Memory", true]} />
      )}
      <Certificates node={n} />
      {draining && (
        <DrainNode
          node={n}
          close={() => setDraining(false)}
          done={async () => {
            await changed();
          }}
        />
      )}
      {fencing && <FenceNode node={n} close={() => setFencing(false)} />}
      {editing && <EditNode node={n} update={update} close={() => setEditing(false)} />}
    </>
  );
}

function EditNode({
  node,
  update,
  close,
}: {
  node: Node;
  update: (body: { pool: string; labels: Record<string, string>; taints: string[] }) => Promise<void>;
  close: () => void;
}) {
  const [pool, setPool] = useState(node.pool ?? "");
  const [labels, setLabels] = useState<Record<string, string>>(node.labels);
  const [taints, setTaints] = useState(node.taints.join(" "));
  return (
    <FormDialog
      title={`Node ${node.name}`}
      submit="Save"
      close={close}
      run={() => update({ pool, labels, taints: taints.split(/[\s,]+/).filter(Boolean) })}
      wide
    >
      <Input label="Pool" value={pool} onChange={setPool} hint="Leave empty for no pool." />
      <Pairs label="Labels" value={labels} change={setLabels} />
      <Input
        label="Taints"
        value={taints}
        onChange={setTaints}
        placeholder="dedicated=web"
        hint="Only pods that tolerate these taints are scheduled to this node."
      />
    </FormDialog>
  );
}
