// SPDX-License-Identifier: Apache-2.0

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { client, data, idempotent, type Role, type Schemas } from "../api/client";
import { useHasRole } from "../api/role";
import { keyOf, useSession } from "../api/session";
import { dateTime } from "../lib/format";
import { Button } from "../ui/Button";
import { Dialog, FormDialog } from "../ui/Dialog";
import { Check, Input, NAME, Select } from "../ui/Field";
import { Problem } from "../ui/Problem";
import { Card, Copy, Empty, Loading, PageHead, When } from "../ui/parts";
import { toast, toastError } from "../ui/toasts";

type Account = Schemas["ServiceAccount"];
type User = Schemas["User"];
type Issuer = Schemas["OIDCIssuer"];

const ROLES: [Role, string][] = [
  ["viewer", "viewer: reads"],
  ["developer", "developer: also creates and deletes"],
  ["owner", "owner: also manages access"],
];

const LIFETIMES: [string, string][] = [
  ["2592000", "30 days"],
  ["7776000", "90 days"],
  ["31536000", "1 year"],
  ["", "never"],
];

/** useAccess returns a list that is fetched again after each change. */
function useAccess<T>(what: string, read: () => Promise<{ items: T[] }>) {
  const session = useSession();
  return useQuery({ queryKey: [keyOf(session), "access", what], queryFn: async () => (await read()).items });
}

function useChanged() {
  const session = useSession();
  const queries = useQueryClient();
  return () => queries.invalidateQueries({ queryKey: [keyOf(session), "access"] });
}

/** Access manages the service accounts, API keys, users and OIDC issuers of the tenant. */
export function Access() {
  const owner = useHasRole("owner");
  if (!owner)
    return (
      <Empty title="This page requires the owner role">
        <p>Ask an owner of the tenant for an API key or for the owner role.</p>
      </Empty>
    );
  return <Owners />;
}

function Owners() {
  const accounts = useAccess("accounts", () => data(client.GET("/v1/service-accounts", { params: { query: { limit: 1000 } } })));
  const users = useAccess("users", () => data(client.GET("/v1/users", { params: { query: { limit: 1000 } } })));
  const issuers = useAccess("issuers", () => data(client.GET("/v1/oidc-issuers", { params: { query: { limit: 1000 } } })));
  const [dialog, setDialog] = useState<"account" | "user" | "issuer">();
  const close = () => setDialog(undefined);
  return (
    <>
      <PageHead title="Access" lead="Programs sign in with API keys. People sign in with an OIDC issuer." />
      <Card
        title="Service accounts"
        actions={
          <Button small icon="plus" onClick={() => setDialog("account")}>
            Service account
          </Button>
        }
      >
        <Problem error={accounts.error} retry={() => void accounts.refetch()} />
        {accounts.isPending && <Loading />}
        {accounts.data?.length === 0 && (
          <Empty title="No service accounts yet">
            <p>A service account is the identity of a program. It has a role and API keys, which you can replace one at a time.</p>
          </Empty>
        )}
        {accounts.data?.map((a) => (
          <AccountRow key={a.id} account={a} />
        ))}
      </Card>
      <Card
        title="People"
        actions={
          <Button small icon="plus" onClick={() => setDialog("user")}>
            Invite
          </Button>
        }
      >
        <Problem error={users.error} retry={() => void users.refetch()} />
        {users.data?.length === 0 && (
          <p className="muted">No users yet. People with a role from an issuer's role mapping appear here after they sign in.</p>
        )}
        {(users.data?.length ?? 0) > 0 && (
          <div className="scroll-x" role="region" aria-label="Table" tabIndex={0}>
            <table>
              <thead>
                <tr>
                  <th>User</th>
                  <th>Role</th>
                  <th>Issuer</th>
                  <th>Last signed in</th>
                  <th>Actions</th>
                </tr>
              </thead>
              <tbody>
                {users.data?.map((u) => (
                  <UserRow key={u.id} user={u} />
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Card>
      <Card
        title="OIDC issuers"
        actions={
          <Button small icon="plus" onClick={() => setDialog("issuer")}>
            Issuer
          </Button>
        }
      >
        <Problem error={issuers.error} retry={() => void issuers.refetch()} />
        {issuers.data?.length === 0 && (
          <p className="muted">The tenant has no issuer of its own. Invited users sign in with the issuers of the installation.</p>
        )}
        {issuers.data?.map((i) => (
          <IssuerRow key={i.id} issuer={i} />
        ))}
      </Card>
      {dialog === "account" && <NewAccount close={close} />}
      {dialog === "user" && <InviteUser close={close} />}
      {dialog === "issuer" && <NewIssuer close={close} />}
    </>
  );
}

function AccountRow({ account }: { account: Account }) {
  const changed = useChanged();
  const path = { serviceAccountId: account.id };
  const keys = useAccess(`keys ${account.id}`, () =>
    data(client.GET("/v1/service-accounts/{serviceAccountId}/api-keys", { params: { path } })),
  );
  const [dialog, setDialog] = useState<"key" | "delete" | { revoke: Schemas["APIKey"] }>();
  const [created, setCreated] = useState<Schemas["APIKeyWithSecret"]>();
  const close = () => setDialog(undefined);
  const setRole = async (role: Role) => {
    await client.PATCH("/v1/service-accounts/{serviceAccountId}", { params: { path }, body: { role } });
    toast(`${account.name} is now ${role}.`);
    await changed();
  };
  return (
    <section className="account" aria-label={`Service account ${account.name}`}>
      <div className="account-head">
        <h3>{account.name}</h3>
        <select
          aria-label={`Role of ${account.name}`}
          value={account.role}
          onChange={(e) => setRole(e.target.value as Role).catch((err) => toastError("The role was not changed", err))}
        >
          {ROLES.map(([r]) => (
            <option key={r}>{r}</option>
          ))}
        </select>
        <Button small icon="plus" onClick={() => setDialog("key")}>
          API key
        </Button>
        <Button small look="quiet" icon="trash" aria-label={`Delete service account ${account.name}`} onClick={() => setDialog("delete")} />
      </div>
      {keys.data?.length === 0 && <p className="muted">No API keys. Programs cannot sign in with this account yet.</p>}
      {(keys.data?.length ?? 0) > 0 && (
        <div className="scroll-x" role="region" aria-label="Table" tabIndex={0}>
          <table>
            <thead>
              <tr>
                <th>Key</th>
                <th>ID</th>
                <th>Created</th>
                <th>Last used</th>
                <th>Expires</th>
                <th>Actions</th>
              </tr>
            </thead>
            <tbody>
              {keys.data?.map((k) => (
                <tr key={k.clientId}>
                  <td>
                    {k.name} {k.limitedTo && <span className="chip">only {k.limitedTo}</span>}
                  </td>
                  <td>
                    <Copy text={k.clientId} shown={k.clientId.slice(0, 8)} label="the key's ID" />
                  </td>
                  <td>
                    <When at={k.createdAt} />
                  </td>
                  <td>
                    <When at={k.lastUsedAt} />
                  </td>
                  <td>{k.expiresAt ? dateTime(k.expiresAt) : "never"}</td>
                  <td>
                    <Button
                      small
                      look="quiet"
                      icon="trash"
                      aria-label={`Revoke key ${k.name} of ${account.name}`}
                      onClick={() => setDialog({ revoke: k })}
                    />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {dialog === "key" && <NewKey account={account} close={close} created={setCreated} />}
      {dialog === "delete" && (
        <FormDialog
          title={`Delete service account ${account.name}?`}
          submit="Delete"
          danger
          close={close}
          run={async () => {
            await client.DELETE("/v1/service-accounts/{serviceAccountId}", { params: { path } });
            await changed();
          }}
        >
          <p>This revokes its keys. The server rejects its tokens from the next request on.</p>
        </FormDialog>
      )}
      {typeof dialog === "object" && (
        <FormDialog
          title={`Revoke key ${dialog.revoke.name}?`}
          submit="Revoke"
          danger
          close={close}
          run={async () => {
            await client.DELETE("/v1/service-accounts/{serviceAccountId}/api-keys/{keyId}", {
              params: { path: { ...path, keyId: dialog.revoke.clientId } },
            });
            await changed();
          }}
        >
          <p>The server rejects the key and its tokens from the next request on.</p>
        </FormDialog>
      )}
      {created && <CreatedKey created={created} close={() => setCreated(undefined)} />}
    </section>
  );
}

function NewKey({ account, close, created }: { account: Account; close: () => void; created: (k: Schemas["APIKeyWithSecret"]) => void }) {
  const changed = useChanged();
  const [name, setName] = useState("");
  const [lifetime, setLifetime] = useState("7776000");
  const [limit, setLimit] = useState(false);
  const [key] = useState(idempotent);
  const run = async () => {
    const body = { name, ...(lifetime ? { expiresInSeconds: Number(lifetime) } : {}), ...(limit ? { limitedTo: "metrics" as const } : {}) };
    created(
      await data(
        client.POST("/v1/service-accounts/{serviceAccountId}/api-keys", {
          params: { path: { serviceAccountId: account.id }, header: key },
          body,
        }),
      ),
    );
    await changed();
  };
  return (
    <FormDialog title={`Create an API key for ${account.name}`} submit="Create key" close={close} run={run}>
      <Input
        label="Name"
        value={name}
        onChange={setName}
        pattern={NAME}
        maxLength={63}
        hint="Where the key is used, such as pipeline."
        required
        autoFocus
      />
      <Select label="Expires after" value={lifetime} onChange={setLifetime} options={LIFETIMES} />
      <Check label="Only for metrics, for Prometheus" checked={limit} onChange={setLimit} />
    </FormDialog>
  );
}

/** CreatedKey shows the secret of a new key. The secret cannot be shown again. */
export function CreatedKey({ created, close }: { created: Schemas["APIKeyWithSecret"]; close: () => void }) {
  return (
    <Dialog title={`Key ${created.name} created`} close={close}>
      <p className="note">Copy the secret now. It is not shown again.</p>
      <dl className="facts">
        <div>
          <dt>Key ID</dt>
          <dd>
            <Copy text={created.clientId} label="the key's ID" />
          </dd>
        </div>
        <div>
          <dt>Secret</dt>
          <dd>
            <Copy text={created.clientSecret} label="the secret" />
          </dd>
        </div>
      </dl>
      <p className="hint">
        To sign in with the command:{" "}
        <code>
          husk login {location.origin} --client-id {created.clientId}
        </code>
        . It asks for the secret.
      </p>
      <div className="dialog-actions">
        <Button look="primary" onClick={close}>
          I have saved it
        </Button>
      </div>
    </Dialog>
  );
}

function NewAccount({ close }: { close: () => void }) {
  const changed = useChanged();
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("developer");
  const [key] = useState(idempotent);
  const run = async () => {
    await client.POST("/v1/service-accounts", { params: { header: key }, body: { name, role } });
    await changed();
  };
  return (
    <FormDialog title="Create a service account" submit="Create" close={close} run={run}>
      <Input label="Name" value={name} onChange={setName} pattern={NAME} maxLength={63} required autoFocus />
      <Select label="Role" value={role} onChange={(r) => setRole(r as Role)} options={ROLES} />
    </FormDialog>
  );
}

function UserRow({ user: u }: { user: User }) {
  const changed = useChanged();
  const [deleting, setDeleting] = useState(false);
  const path = { userId: u.id };
  const who = u.email ?? u.name ?? u.subject ?? u.id;
  const update = async (body: Schemas["UserUpdate"]) => {
    await client.PATCH("/v1/users/{userId}", { params: { path }, body });
    await changed();
  };
  return (
    <tr>
      <td>
        {who} {u.disabled && <span className="chip">disabled</span>}
      </td>
      <td>
        {u.mapped ? (
          <span title="From the issuer's role mappings">{u.role}, mapped</span>
        ) : (
          <select
            aria-label={`Role of ${who}`}
            value={u.role}
            onChange={(e) => update({ role: e.target.value as Role }).catch((err) => toastError("The role was not changed", err))}
          >
            {ROLES.map(([r]) => (
              <option key={r}>{r}</option>
            ))}
          </select>
        )}
      </td>
      <td className="break">{u.issuer}</td>
      <td>
        <When at={u.lastLoginAt} />
      </td>
      <td>
        <Button small onClick={() => update({ disabled: !u.disabled }).catch((err) => toastError("The user was not changed", err))}>
          {u.disabled ? "Enable" : "Disable"}
        </Button>{" "}
        <Button small look="quiet" icon="trash" aria-label={`Delete ${who}`} onClick={() => setDeleting(true)} />
        {deleting && (
          <FormDialog
            title={`Delete ${who}?`}
            submit="Delete"
            danger
            close={() => setDeleting(false)}
            run={async () => {
              await client.DELETE("/v1/users/{userId}", { params: { path } });
              await changed();
            }}
          >
            <p>A user with a role from a role mapping is created again at the next sign-in. Disable the user instead.</p>
          </FormDialog>
        )}
      </td>
    </tr>
  );
}

function InviteUser({ close }: { close: () => void }) {
  const changed = useChanged();
  const options = useQuery({ queryKey: ["login options"], queryFn: () => data(client.GET("/.well-known/husk")) });
  const [issuer, setIssuer] = useState("");
  const [email, setEmail] = useState("");
  const [role, setRole] = useState<Role>("developer");
  const [key] = useState(idempotent);
  const run = async () => {
    await client.POST("/v1/users", { params: { header: key }, body: { issuer, email, role } });
    await changed();
  };
  return (
    <FormDialog title="Invite a user" submit="Invite" close={close} run={run}>
      <Input
        label="Email address"
        type="email"
        value={email}
        onChange={setEmail}
        hint="The issuer must have verified it."
        required
        autoFocus
      />
      <Input
        label="Issuer"
        type="url"
        list="issuers"
        value={issuer}
        onChange={setIssuer}
        placeholder="https://login.example.com"
        required
      />
      <datalist id="issuers">
        {options.data?.issuers.map((i) => (
          <option key={i.name} value={i.issuer} />
        ))}
      </datalist>
      <Select label="Role" value={role} onChange={(r) => setRole(r as Role)} options={ROLES} />
    </FormDialog>
  );
}

function IssuerRow({ issuer: i }: { issuer: Issuer }) {
  const changed = useChanged();
  const [deleting, setDeleting] = useState(false);
  return (
    <section className="account" aria-label={`Issuer ${i.name}`}>
      <div className="account-head">
        <h3>{i.name}</h3>
        <code className="break">{i.issuer}</code>
        <span className="muted">client {i.clientId}</span>
        <Button small look="quiet" icon="trash" aria-label={`Delete issuer ${i.name}`} onClick={() => setDeleting(true)} />
      </div>
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
    </section>
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
      <Input label="Name" value={name} onChange={setName} pattern={NAME} required autoFocus />
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
