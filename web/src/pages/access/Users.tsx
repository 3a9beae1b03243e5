// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { client, data, idempotent, type Role, type Schemas } from "../../api/client";
import { LOGIN_OPTIONS } from "../../api/queries";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { Chip } from "../../ui/Chip";
import { FormDialog } from "../../ui/Dialog";
import { Input, Select } from "../../ui/Field";
import { Loading } from "../../ui/Loading";
import { Problem } from "../../ui/Problem";
import { ScrollX } from "../../ui/ScrollX";
import { toastError } from "../../ui/toasts";
import { When } from "../../ui/When";
import { ChangeRole } from "./ChangeRole";
import { ROLES, useAccess, useChanged } from "./queries";

type User = Schemas["User"];

/** Users lists the people who sign in with an OIDC issuer. */
export function Users() {
  const users = useAccess("users", () => data(client.GET("/v1/users", { params: { query: { limit: 1000 } } })));
  const [creating, setCreating] = useState(false);
  return (
    <>
      <Card
        title="People"
        actions={
          <Button small icon="plus" onClick={() => setCreating(true)}>
            Invite
          </Button>
        }
      >
        <Problem error={users.error} retry={() => void users.refetch()} />
        {users.isPending && <Loading />}
        {users.data?.length === 0 && (
          <p className="muted">No users yet. People with a role from an issuer's role mapping appear here after they sign in.</p>
        )}
        {(users.data?.length ?? 0) > 0 && (
          <ScrollX label="Table">
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
          </ScrollX>
        )}
      </Card>
      {creating && <InviteUser close={() => setCreating(false)} />}
    </>
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
        {who} {u.disabled && <Chip>disabled</Chip>}
      </td>
      <td>
        {u.mapped ? (
          <span title="From the issuer's role mappings">{u.role}, mapped</span>
        ) : (
          <ChangeRole id={u.id} name={who} role={u.role} set={(role) => update({ role })} />
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
  const options = useQuery({ queryKey: LOGIN_OPTIONS, queryFn: () => data(client.GET("/.well-known/husk")) });
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
