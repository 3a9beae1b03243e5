// SPDX-License-Identifier: Apache-2.0

import { useState } from "react";
import { client, data, idempotent, type Role, type Schemas } from "../../api/client";
import { ROLES } from "../../api/role";
import { useTenantNames } from "../../api/useTenants";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { FormDialog } from "../../ui/Dialog";
import { Entry } from "../../ui/Entry";
import { EntryHead } from "../../ui/EntryHead";
import { Input, NAME, Select } from "../../ui/Field";
import { Loading } from "../../ui/Loading";
import { Problem } from "../../ui/Problem";
import { useChangedPlatform, usePlatform } from "./queries";

type Issuer = Schemas["OIDCIssuer"];

/** PlatformIssuers lists the OIDC issuers of the whole installation. */
export function PlatformIssuers() {
  const issuers = usePlatform("issuers", () => data(client.GET("/v1/admin/oidc-issuers", { params: { query: { limit: 1000 } } })));
  const tenants = useTenantNames();
  const changed = useChangedPlatform();
  const [dialog, setDialog] = useState<"create" | { remove: Issuer }>();
  const close = () => setDialog(undefined);
  return (
    <Card
      title="OIDC issuers"
      actions={
        <Button small icon="plus" onClick={() => setDialog("create")}>
          Issuer
        </Button>
      }
    >
      <Problem error={issuers.error} retry={() => void issuers.refetch()} />
      {issuers.isPending && <Loading />}
      {issuers.data?.length === 0 && <p className="muted">No issuers. Tenants can have issuers of their own.</p>}
      {issuers.data?.map((i) => (
        <Entry key={i.id} aria-label={`Issuer ${i.name}`}>
          <EntryHead>
            <h3>{i.name}</h3>
            <code className="break">{i.issuer}</code>
            <span className="muted">client {i.clientId}</span>
            <Button small look="quiet" icon="trash" aria-label={`Delete issuer ${i.name}`} onClick={() => setDialog({ remove: i })} />
          </EntryHead>
          <p className="muted">
            {i.roleMappings.length === 0
              ? "Only invited users can sign in with it."
              : i.roleMappings
                  .map((m) => `${m.claim} = ${m.value}: ${m.role} in ${tenants.get(m.tenantId ?? "") ?? m.tenantId ?? "every tenant"}`)
                  .join("; ")}
          </p>
        </Entry>
      ))}
      {dialog === "create" && <NewIssuer tenants={tenants} close={close} />}
      {typeof dialog === "object" && (
        <FormDialog
          title={`Delete issuer ${dialog.remove.name}?`}
          submit="Delete"
          danger
          close={close}
          run={async () => {
            await client.DELETE("/v1/admin/oidc-issuers/{issuerId}", { params: { path: { issuerId: dialog.remove.id } } });
            await changed();
          }}
        >
          <p>Users of every tenant can no longer sign in with this issuer, and the server rejects their tokens.</p>
        </FormDialog>
      )}
    </Card>
  );
}

function NewIssuer({ tenants, close }: { tenants: Map<string, string>; close: () => void }) {
  const changed = useChangedPlatform();
  const [name, setName] = useState("");
  const [issuer, setIssuer] = useState("");
  const [clientId, setClientId] = useState("");
  const [claim, setClaim] = useState("");
  const [value, setValue] = useState("");
  const [role, setRole] = useState<Role>("developer");
  const [tenant, setTenant] = useState("");
  const [key] = useState(idempotent);
  const run = async () => {
    const roleMappings = claim ? [{ claim, value, role, tenantId: tenant }] : [];
    await client.POST("/v1/admin/oidc-issuers", { params: { header: key }, body: { name, issuer, clientId, roleMappings } });
    await changed();
  };
  return (
    <FormDialog title="Trust an OIDC issuer" submit="Add" close={close} run={run}>
      <Input label="Name" field="name" value={name} onChange={setName} pattern={NAME} required autoFocus />
      <Input
        label="Issuer"
        field="issuer"
        type="url"
        value={issuer}
        onChange={setIssuer}
        placeholder="https://login.example.com"
        required
      />
      <Input label="Client ID" field="clientId" value={clientId} onChange={setClientId} required />
      <details>
        <summary>Map a claim to a role</summary>
        <Input label="Claim" value={claim} onChange={setClaim} placeholder="groups" />
        <Input label="Value" value={value} onChange={setValue} placeholder="platform-team" required={claim !== ""} />
        <Select label="Role" value={role} onChange={(r) => setRole(r as Role)} options={ROLES} />
        <Select
          label="Tenant"
          value={tenant}
          onChange={setTenant}
          required={claim !== ""}
          options={[["", "Choose a tenant"], ...[...tenants].sort((a, b) => a[1].localeCompare(b[1], "en"))]}
        />
      </details>
    </FormDialog>
  );
}
