// SPDX-License-Identifier: Apache-2.0

import { useState } from "react";
import { ApiError, client, data, type Schemas } from "../../api/client";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { FormDialog } from "../../ui/Dialog";
import { Input, NAME } from "../../ui/Field";
import { Loading } from "../../ui/Loading";
import { Problem } from "../../ui/Problem";
import { ScrollX } from "../../ui/ScrollX";
import { When } from "../../ui/When";
import { Defragment } from "./Defragment";
import { useChangedPlatform, usePlatform } from "./queries";

type Pool = Schemas["Pool"];

/** Pools lists the pools of nodes with their overcommit. */
export function Pools() {
  const pools = usePlatform("pools", () => data(client.GET("/v1/admin/pools")));
  const [dialog, setDialog] = useState<"create" | "defragment" | { change: Pool } | { remove: Pool }>();
  const close = () => setDialog(undefined);
  return (
    <Card
      title="Pools"
      actions={
        <>
          <Button small onClick={() => setDialog("defragment")}>
            Defragment
          </Button>{" "}
          <Button small icon="plus" onClick={() => setDialog("create")}>
            Pool
          </Button>
        </>
      }
    >
      <Problem error={pools.error} retry={() => void pools.refetch()} />
      {pools.isPending && <Loading />}
      {pools.data?.length === 0 && <p className="muted">No pools. Nodes without a pool have no overcommit of CPU.</p>}
      {(pools.data?.length ?? 0) > 0 && (
        <ScrollX label="Pools">
          <table>
            <thead>
              <tr>
                <th>Name</th>
                <th className="numeric">CPU overcommit</th>
                <th className="numeric">Nodes</th>
                <th>Created</th>
                <th>Actions</th>
              </tr>
            </thead>
            <tbody>
              {pools.data?.map((p) => (
                <tr key={p.name}>
                  <td>{p.name}</td>
                  <td className="numeric">{p.cpuOvercommit}</td>
                  <td className="numeric">{p.nodes}</td>
                  <td>
                    <When at={p.createdAt} />
                  </td>
                  <td>
                    <Button small aria-label={`Change pool ${p.name}`} onClick={() => setDialog({ change: p })}>
                      Change
                    </Button>{" "}
                    <Button
                      small
                      look="quiet"
                      icon="trash"
                      aria-label={`Delete pool ${p.name}`}
                      unless={p.nodes > 0 ? "A pool with nodes cannot be deleted. Move its nodes to another pool first." : undefined}
                      onClick={() => setDialog({ remove: p })}
                    />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </ScrollX>
      )}
      {dialog === "create" && <EditPool close={close} />}
      {dialog === "defragment" && <Defragment pools={pools.data?.map((p) => p.name) ?? []} close={close} />}
      {typeof dialog === "object" && "change" in dialog && <EditPool pool={dialog.change} close={close} />}
      {typeof dialog === "object" && "remove" in dialog && <RemovePool pool={dialog.remove} close={close} />}
    </Card>
  );
}

function EditPool({ pool, close }: { pool?: Pool; close: () => void }) {
  const changed = useChangedPlatform();
  const [name, setName] = useState(pool?.name ?? "");
  const [overcommit, setOvercommit] = useState(String(pool?.cpuOvercommit ?? 1));
  const run = async () => {
    if (!pool) {
      const { items } = await data(client.GET("/v1/admin/pools"));
      if (items.some((p) => p.name === name))
        throw new ApiError({ code: "name_taken", field: "name", detail: `A pool named ${name} exists already.` });
    }
    await client.PUT("/v1/admin/pools/{pool}", { params: { path: { pool: name } }, body: { cpuOvercommit: Number(overcommit) } });
    await changed();
  };
  return (
    <FormDialog title={pool ? `Change pool ${pool.name}` : "Create a pool"} submit={pool ? "Save" : "Create"} close={close} run={run}>
      {!pool && <Input label="Name" field="name" value={name} onChange={setName} pattern={NAME} maxLength={63} required autoFocus />}
      <Input
        label="CPU overcommit"
        field="cpuOvercommit"
        type="number"
        step="0.1"
        min={0.1}
        max={100}
        value={overcommit}
        onChange={setOvercommit}
        hint="How many cores can be reserved for each physical core. Memory is never overcommitted."
        required
      />
    </FormDialog>
  );
}

function RemovePool({ pool, close }: { pool: Pool; close: () => void }) {
  const changed = useChangedPlatform();
  const run = async () => {
    await client.DELETE("/v1/admin/pools/{pool}", { params: { path: { pool: pool.name } } });
    await changed();
  };
  return (
    <FormDialog title={`Delete pool ${pool.name}?`} submit="Delete" danger close={close} run={run}>
      <p>It has no nodes.</p>
    </FormDialog>
  );
}
