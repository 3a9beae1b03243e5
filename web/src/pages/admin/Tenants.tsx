// SPDX-License-Identifier: Apache-2.0

import { useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { client, data, idempotent, type Tenant } from "../../api/client";
import { useKeys } from "../../api/queries";
import { useTenants } from "../../api/useTenants";
import { cores, count, gibibytes, mebibytes, plural } from "../../lib/format";
import { Button } from "../../ui/Button";
import { DataTable } from "../../ui/DataTable";
import { FormDialog } from "../../ui/Dialog";
import { Empty } from "../../ui/Empty";
import { Input, NAME } from "../../ui/Field";
import { Filters } from "../../ui/Filters";
import { Hint } from "../../ui/Hint";
import { Loading } from "../../ui/Loading";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import type { Column } from "../../ui/tableColumns";
import { When } from "../../ui/When";
import { usePlaced } from "./Nodes";

/** Tenants lists the tenants with their quotas. */
export function Tenants() {
  const tenants = useTenants();
  const pods = usePlaced();
  const [creating, setCreating] = useState(false);
  const [q, setQ] = useState("");
  const counts = useMemo(() => {
    const found = new Map<string, number>();
    for (const p of pods.data ?? []) found.set(p.tenantId, (found.get(p.tenantId) ?? 0) + 1);
    return found;
  }, [pods.data]);
  const columns = useMemo(
    (): Column<Tenant>[] => [
      {
        name: "Name",
        width: "minmax(100px, 1.4fr)",
        sort: (t) => t.name,
        cell: (t) => (
          <Link to="/admin/tenants/$tenantId" params={{ tenantId: t.id }} className="strong">
            {t.name}
          </Link>
        ),
      },
      {
        name: "Pods",
        width: "120px",
        numeric: true,
        sort: (t) => counts.get(t.id) ?? 0,
        cell: (t) => `${count(counts.get(t.id) ?? 0)} of ${count(t.quota.pods)}`,
      },
      { name: "Cores", width: "84px", numeric: true, wide: true, sort: (t) => t.quota.cpuMillis, cell: (t) => cores(t.quota.cpuMillis) },
      {
        name: "Memory",
        width: "96px",
        numeric: true,
        wide: true,
        sort: (t) => t.quota.memoryMiB,
        cell: (t) => mebibytes(t.quota.memoryMiB),
      },
      {
        name: "Volumes",
        width: "96px",
        numeric: true,
        wide: true,
        sort: (t) => t.quota.volumeGiB,
        cell: (t) => gibibytes(t.quota.volumeGiB),
      },
      { name: "Network", width: "140px", wide: true, cell: (t) => <code>{t.networkCidr}</code> },
      { name: "Age", width: "92px", wide: true, sort: (t) => -Date.parse(t.createdAt), cell: (t) => <When at={t.createdAt} /> },
    ],
    [counts],
  );
  const create = (
    <Button look="primary" onClick={() => setCreating(true)}>
      Create a tenant
    </Button>
  );
  const shown = useMemo(() => (tenants.data ?? []).filter((t) => t.name.includes(q.toLowerCase()) || t.id === q), [tenants.data, q]);
  return (
    <>
      <PageHead title="Tenants" lead={tenants.data && plural(tenants.data.length, "tenant")}>
        {create}
      </PageHead>
      <Problem error={tenants.error} retry={() => void tenants.refetch()} />
      {tenants.isPending && <Loading />}
      {tenants.data?.length === 0 && (
        <Empty title="No tenants yet" action={create}>
          <p>Each tenant has its own pods, volumes, images, network and quota. Tenants do not see each other.</p>
        </Empty>
      )}
      {(tenants.data?.length ?? 0) > 0 && (
        <>
          <Filters>
            <input
              type="search"
              aria-label="Filter by name or ID"
              placeholder="Name or ID"
              value={q}
              onChange={(e) => setQ(e.target.value)}
            />
          </Filters>
          <DataTable label="Tenants" rows={shown} columns={columns} id={(t) => t.id} sortedBy={["Name", false]} />
        </>
      )}
      {creating && <CreateTenant close={() => setCreating(false)} />}
    </>
  );
}

function CreateTenant({ close }: { close: () => void }) {
  const keys = useKeys();
  const queries = useQueryClient();
  const navigate = useNavigate();
  const [name, setName] = useState("");
  const [key] = useState(idempotent);
  const run = async () => {
    const created = await data(client.POST("/v1/admin/tenants", { params: { header: key }, body: { name } }));
    await queries.invalidateQueries({ queryKey: keys.tenants });
    await navigate({ to: "/admin/tenants/$tenantId", params: { tenantId: created.id } });
  };
  return (
    <FormDialog title="Create a tenant" submit="Create" close={close} run={run}>
      <Input label="Name" field="name" value={name} onChange={setName} pattern={NAME} maxLength={63} required autoFocus />
      <Hint>The tenant starts with the default quota. Create its first API key afterwards.</Hint>
    </FormDialog>
  );
}
