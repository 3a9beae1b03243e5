// SPDX-License-Identifier: Apache-2.0

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { client, data, idempotent, type Schemas, type Tenant } from "../../api/client";
import { useKeys } from "../../api/queries";
import { useTenants } from "../../api/useTenants";
import { coresOf, count, dateTime, gibibytes, mebibytes } from "../../lib/format";
import { Badge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { Cards } from "../../ui/Cards";
import { Columns } from "../../ui/Columns";
import { Copy } from "../../ui/Copy";
import { CreatedKey } from "../../ui/CreatedKey";
import { FormDialog } from "../../ui/Dialog";
import { Empty } from "../../ui/Empty";
import { Facts } from "../../ui/Facts";
import { Input, NAME } from "../../ui/Field";
import { Hint } from "../../ui/Hint";
import { Loading } from "../../ui/Loading";
import { Meter } from "../../ui/Meter";
import { Meters } from "../../ui/Meters";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { Rows } from "../../ui/Rows";
import { When } from "../../ui/When";
import { usePlaced } from "./Nodes";

type Quota = Schemas["Quota"];

const LIMITS: [Exclude<keyof Quota, "volumeClassGiB">, string][] = [
  ["pods", "Pods"],
  ["cpuMillis", "CPU in thousandths of a core"],
  ["memoryMiB", "Memory in MiB"],
  ["scratchGiB", "Scratch disks in GiB"],
  ["volumes", "Volumes"],
  ["volumeGiB", "Volumes in GiB"],
  ["images", "Images"],
  ["configs", "Configs and secrets"],
  ["services", "Services"],
  ["ingresses", "Ingresses"],
  ["securityGroups", "Security groups"],
  ["addresses", "Floating addresses"],
  ["networks", "Networks"],
  ["snapshots", "Snapshots"],
  ["requestsPerSecond", "Requests per second"],
  ["priority", "Highest priority of a pod"],
];

/** TenantPage shows one tenant to operators: its quota, what is in use, its pods and its API keys. */
export function TenantPage() {
  const { tenantId } = useParams({ from: "/app/admin/tenants/$tenantId" });
  const tenants = useTenants();
  const tenant = tenants.data?.find((t) => t.id === tenantId);
  if (tenants.error) return <Problem error={tenants.error} retry={() => void tenants.refetch()} />;
  if (!tenants.data) return <Loading what="Loading the tenant" />;
  if (!tenant) return <Empty title="Tenant not found" action={<Link to="/admin/tenants">All tenants</Link>} />;
  return <Page tenant={tenant} />;
}

function Page({ tenant: t }: { tenant: Tenant }) {
  const keys = useKeys();
  const queries = useQueryClient();
  const pods = usePlaced({ tenantId: t.id });
  const path = { tenantId: t.id };
  const apiKeys = useQuery({
    queryKey: keys.tenantKeys(t.id),
    queryFn: async () => (await data(client.GET("/v1/admin/tenants/{tenantId}/api-keys", { params: { path } }))).items,
  });
  const [dialog, setDialog] = useState<"quota" | "key" | { revoke: Schemas["APIKey"] }>();
  const [created, setCreated] = useState<Schemas["APIKeyWithSecret"]>();
  const close = () => setDialog(undefined);
  const holds = (pods.data ?? []).filter((p) => p.phase !== "Succeeded" && p.phase !== "Failed");
  return (
    <>
      <PageHead title={t.name} lead={<code>{t.networkCidr}</code>}>
        <Button onClick={() => setDialog("quota")}>Change quota</Button>
        <Button look="primary" onClick={() => setDialog("key")}>
          Create API key
        </Button>
      </PageHead>
      <Cards two>
        <Card title="Quota">
          <Meters>
            <Meter label="Pods" used={pods.data?.length ?? 0} limit={t.quota.pods} show={count} />
            <Meter
              label="CPU"
              used={holds.reduce((s, p) => s + p.resources.cpuMillis, 0)}
              limit={t.quota.cpuMillis}
              show={(n) => `${coresOf(n)}`}
            />
            <Meter label="Memory" used={holds.reduce((s, p) => s + p.resources.memoryMiB, 0)} limit={t.quota.memoryMiB} show={mebibytes} />
          </Meters>
          <Facts
            of={[
              ["Volumes", `${count(t.quota.volumes)}, ${gibibytes(t.quota.volumeGiB)}`],
              ...Object.entries(t.quota.volumeClassGiB ?? {}).map(([k, n]): [string, string] => [`Volumes of class ${k}`, gibibytes(n)]),
              ["Images", count(t.quota.images)],
              ["Requests per second", count(t.quota.requestsPerSecond)],
              ["Highest priority", t.quota.priority],
              ["Created", dateTime(t.createdAt)],
              ["ID", <Copy key="id" text={t.id} label="the ID" />],
            ]}
          />
        </Card>
        <Card title="API keys">
          <Problem error={apiKeys.error} retry={() => void apiKeys.refetch()} />
          {apiKeys.data?.length === 0 && <p className="muted">No API keys. Create one for the tenant's first owner.</p>}
          <Rows>
            {apiKeys.data?.map((k) => (
              <li key={k.clientId}>
                <strong>{k.name}</strong> <Copy text={k.clientId} shown={k.clientId.slice(0, 8)} label="the key's ID" />
                <span className="muted">
                  used <When at={k.lastUsedAt} />
                </span>
                <Button small look="quiet" icon="trash" aria-label={`Revoke key ${k.name}`} onClick={() => setDialog({ revoke: k })} />
              </li>
            ))}
          </Rows>
        </Card>
      </Cards>
      <Card title="Pods">
        {pods.data?.length === 0 && <p className="muted">No pods.</p>}
        <Rows>
          {pods.data?.slice(0, 200).map((p) => (
            <li key={p.id}>
              <Badge state={p.phase} title={p.reason} /> {p.name}
              <span className="muted">
                {coresOf(p.resources.cpuMillis)}, {mebibytes(p.resources.memoryMiB)}
              </span>
            </li>
          ))}
        </Rows>
      </Card>
      {dialog === "quota" && <EditQuota tenant={t} close={close} />}
      {dialog === "key" && <FirstKey tenant={t} close={close} created={setCreated} />}
      {typeof dialog === "object" && (
        <FormDialog
          title={`Revoke key ${dialog.revoke.name}?`}
          submit="Revoke"
          danger
          close={close}
          run={async () => {
            await client.DELETE("/v1/admin/tenants/{tenantId}/api-keys/{keyId}", {
              params: { path: { ...path, keyId: dialog.revoke.clientId } },
            });
            await queries.invalidateQueries({ queryKey: keys.tenantKeys(t.id) });
          }}
        >
          <p>The server rejects the key and its tokens from the next request on.</p>
        </FormDialog>
      )}
      {created && <CreatedKey created={created} close={() => setCreated(undefined)} />}
    </>
  );
}

function EditQuota({ tenant, close }: { tenant: Tenant; close: () => void }) {
  const keys = useKeys();
  const queries = useQueryClient();
  const [quota, setQuota] = useState(tenant.quota);
  const classes =
    useQuery({
      queryKey: [...keys.tenants, "volume-classes"],
      queryFn: async () => (await data(client.GET("/v1/admin/volume-classes"))).items,
    }).data ?? [];
  const was = tenant.quota.volumeClassGiB ?? {};
  const [byClass, setByClass] = useState<Record<string, number>>({});
  const run = async () => {
    const changed = Object.fromEntries(LIMITS.filter(([k]) => quota[k] !== tenant.quota[k]).map(([k]) => [k, quota[k]]));
    if (Object.keys(byClass).length > 0) Object.assign(changed, { volumeClassGiB: byClass });
    if (Object.keys(changed).length === 0) return;
    await client.PATCH("/v1/admin/tenants/{tenantId}", { params: { path: { tenantId: tenant.id } }, body: { quota: changed } });
    await queries.invalidateQueries({ queryKey: keys.tenants });
  };
  return (
    <FormDialog title={`Quota of ${tenant.name}`} submit="Save" close={close} run={run} wide>
      <Hint>0 allows nothing. A limit below the current use only blocks new objects.</Hint>
      <Columns>
        {LIMITS.map(([k, title]) => (
          <Input
            key={k}
            label={title}
            type="number"
            value={quota[k]}
            onChange={(v) => setQuota({ ...quota, [k]: Math.round(Number(v)) })}
            required
          />
        ))}
        {classes.map(({ name: k }) => (
          <Input
            key={k}
            label={`Volumes of class ${k} in GiB`}
            type="number"
            min={0}
            value={byClass[k] === undefined ? (was[k] ?? "") : byClass[k] < 0 ? "" : byClass[k]}
            onChange={(v) => setByClass({ ...byClass, [k]: v === "" ? -1 : Math.round(Number(v)) })}
            hint="Empty: no limit of its own"
          />
        ))}
      </Columns>
    </FormDialog>
  );
}

function FirstKey({ tenant, close, created }: { tenant: Tenant; close: () => void; created: (k: Schemas["APIKeyWithSecret"]) => void }) {
  const keys = useKeys();
  const queries = useQueryClient();
  const [name, setName] = useState("first");
  const [account, setAccount] = useState("");
  const [key] = useState(idempotent);
  const run = async () => {
    created(
      await data(
        client.POST("/v1/admin/tenants/{tenantId}/api-keys", {
          params: { path: { tenantId: tenant.id }, header: key },
          body: { name, ...(account ? { serviceAccount: account } : {}) },
        }),
      ),
    );
    await queries.invalidateQueries({ queryKey: keys.tenantKeys(tenant.id) });
  };
  return (
    <FormDialog title={`Create an API key for ${tenant.name}`} submit="Create key" close={close} run={run}>
      <Input label="Name" field="name" value={name} onChange={setName} pattern={NAME} maxLength={63} required autoFocus />
      <Input
        label="Service account"
        value={account}
        onChange={setAccount}
        pattern={NAME}
        placeholder="owner"
        hint="The account of an owner. If it does not exist, it is created. If you name none, the key always belongs to an owner."
      />
    </FormDialog>
  );
}
