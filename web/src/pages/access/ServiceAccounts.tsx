// SPDX-License-Identifier: Apache-2.0

import { useState } from "react";
import { client, data, idempotent, type Role, type Schemas } from "../../api/client";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { CreatedKey } from "../../ui/CreatedKey";
import { FormDialog } from "../../ui/Dialog";
import { Empty } from "../../ui/Empty";
import { Entry } from "../../ui/Entry";
import { EntryHead } from "../../ui/EntryHead";
import { Input, NAME, Select } from "../../ui/Field";
import { Loading } from "../../ui/Loading";
import { Problem } from "../../ui/Problem";
import { APIKeys, NewKey } from "./APIKeys";
import { ChangeRole } from "./ChangeRole";
import { ROLES, useAccess, useChanged } from "./queries";

type Account = Schemas["ServiceAccount"];

/** ServiceAccounts lists the identities of the tenant's programs, with their API keys. */
export function ServiceAccounts() {
  const accounts = useAccess("accounts", () => data(client.GET("/v1/service-accounts", { params: { query: { limit: 1000 } } })));
  const [creating, setCreating] = useState(false);
  return (
    <>
      <Card
        title="Service accounts"
        actions={
          <Button small icon="plus" onClick={() => setCreating(true)}>
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
      {creating && <NewAccount close={() => setCreating(false)} />}
    </>
  );
}

function AccountRow({ account }: { account: Account }) {
  const changed = useChanged();
  const path = { serviceAccountId: account.id };
  const [dialog, setDialog] = useState<"key" | "delete">();
  const [created, setCreated] = useState<Schemas["APIKeyWithSecret"]>();
  const close = () => setDialog(undefined);
  const setRole = (role: Role) => client.PATCH("/v1/service-accounts/{serviceAccountId}", { params: { path }, body: { role } });
  return (
    <Entry aria-label={`Service account ${account.name}`}>
      <EntryHead>
        <h3>{account.name}</h3>
        <ChangeRole id={account.id} name={account.name} role={account.role} set={setRole} />
        <Button small icon="plus" onClick={() => setDialog("key")}>
          API key
        </Button>
        <Button small look="quiet" icon="trash" aria-label={`Delete service account ${account.name}`} onClick={() => setDialog("delete")} />
      </EntryHead>
      <APIKeys account={account} />
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
      {created && <CreatedKey created={created} close={() => setCreated(undefined)} />}
    </Entry>
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
      <Input label="Name" field="name" value={name} onChange={setName} pattern={NAME} maxLength={63} required autoFocus />
      <Select label="Role" value={role} onChange={(r) => setRole(r as Role)} options={ROLES} />
    </FormDialog>
  );
}
