// SPDX-License-Identifier: Apache-2.0

import { useState } from "react";
import { client, data, idempotent, type Role, type Schemas } from "../../api/client";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { FormDialog } from "../../ui/Dialog";
import { Entry } from "../../ui/Entry";
import { EntryHead } from "../../ui/EntryHead";
import { Input, NAME, Select } from "../../ui/Field";
import { Loading } from "../../ui/Loading";
import { Problem } from "../../ui/Problem";
import { ROLES, useAccess, useChanged } from "./queries";

type Issuer = Schemas["OIDCIssuer"];

/** Issuers lists the tenant's own OIDC issuers. */
export function Issuers() {
  const issuers = useAccess("issuers", () => data(client.GET("/v1/oidc-issuers", { params: { query: { limit: 1000 } } })));
  const [creating, setCreating] = useState(false);
  return (
    <>
      <Card
        title="OIDC issuers"
        actions={
          <Button small icon="plus" onClick={() => setCreating(true)}>
            Issuer
          </Button>
        }
      >
        <Problem error={issuers.error} retry={() => void issuers.refetch()} />
        {issuers.isPending && <Loading />}
        {issuers.data?.length === 0 && (
          <p className="muted">The tenant has no issuer of its own. Invited users sign in with the issuers of the installation.</p>
        )}
        {issuers.data?.map((i) => (
          <IssuerRow key={i.id} issuer={i} />
        ))}
      </Card>
      {creating && <NewIssuer close={() => setCreating(false)} />}
    </>
  );
}

function IssuerRow({ issuer: i }: { issuer: Issuer }) {
  const changed = useChanged();
  const [deleting, setDeleting] = useState(false);
  return (
    <Entry aria-label={`Issuer ${i.name}`}>
      <EntryHead>
        <h3>{i.name}</h3>
        <code className="break">{i.issuer}</code>
        <span className="muted">client {i.clientId}</span>
        <Button small look="quiet" icon="trash" aria-label={`Delete issuer ${i.name}`} onClick={() => setDeleting(true)} />
      </EntryHead>
      <p className="muted">
        {i.roleMappings.length === 0
          ? "Only invited users can sign in with it."
          : i.roleMappings.map((m) => `${m.claim} = ${m.value}: ${m.role}`).join("; ")}
      </p>
      {deleting && (
        <FormDialog
          title={`Delete issuer ${i.name}?`}
          submit="Delete"
          danger
          close={() => setDeleting(false)}
          run={async () => {
            await client.DELETE("/v1/oidc-issuers/{issuerId}", { params: { path: { issuerId: i.id } } });
            await changed();
          }}
        >
          <p>Users can no longer sign in with this issuer, and the server rejects their tokens.</p>
        </FormDialog>
      )}
    </Entry>
  );
}

function NewIssuer({ close }: { close: () => void }) {
  const changed = useChanged();
  const [name, setName] = useState("");
  const [issuer, setIssuer] = useState("");
  const [clientId, setClientId] = useState("");
  const [claim, setClaim] = useState("");
  const [value, setValue] = useState("");
  const [role, setRole] = useState<Role>("developer");
  const [key] = useState(idempotent);
  const run = async () => {
    const roleMappings = claim ? [{ claim, value, role }] : [];
    await client.POST("/v1/oidc-issuers", { params: { header: key }, body: { name, issuer, clientId, roleMappings } });
    await changed();
  };
  return (
    <FormDialog title="Add an OIDC issuer" submit="Add" close={close} run={run}>
      <Input label="Name" field="name" value={name} onChange={setName} pattern={NAME} required autoFocus />
      <Input label="Issuer" type="url" value={issuer} onChange={setIssuer} placeholder="https://login.example.com" required />
      <Input
        label="Client ID"
        value={clientId}
        onChange={setClientId}
        hint={
          <>
            Register Husk as a public client with PKCE. The redirect URI for this dashboard is{" "}
            <code>{location.origin}/ui/login/callback</code>.
          </>
        }
        required
      />
      <details>
        <summary>Map a claim to a role</summary>
        <Input label="Claim" value={claim} onChange={setClaim} placeholder="groups" />
        <Input label="Value" value={value} onChange={setValue} placeholder="platform-team" required={claim !== ""} />
        <Select label="Role" value={role} onChange={(r) => setRole(r as Role)} options={ROLES} />
      </details>
    </FormDialog>
  );
}
