// SPDX-License-Identifier: Apache-2.0

import { useState } from "react";
import { client, data, idempotent, type Schemas } from "../../api/client";
import { dateTime } from "../../lib/format";
import { Button } from "../../ui/Button";
import { Check } from "../../ui/Check";
import { Chip } from "../../ui/Chip";
import { Copy } from "../../ui/Copy";
import { FormDialog } from "../../ui/Dialog";
import { Input, NAME, Select } from "../../ui/Field";
import { ScrollX } from "../../ui/ScrollX";
import { When } from "../../ui/When";
import { useAccess, useChanged } from "./queries";

type Account = Schemas["ServiceAccount"];

const LIFETIMES: [string, string][] = [
  ["2592000", "30 days"],
  ["7776000", "90 days"],
  ["31536000", "1 year"],
  ["", "never"],
];

/** APIKeys lists the keys of a service account, without their secrets. */
export function APIKeys({ account }: { account: Account }) {
  const changed = useChanged();
  const path = { serviceAccountId: account.id };
  const keys = useAccess(`keys ${account.id}`, () =>
    data(client.GET("/v1/service-accounts/{serviceAccountId}/api-keys", { params: { path } })),
  );
  const [revoking, setRevoking] = useState<Schemas["APIKey"]>();
  return (
    <>
      {keys.data?.length === 0 && <p className="muted">No API keys. Programs cannot sign in with this account yet.</p>}
      {(keys.data?.length ?? 0) > 0 && (
        <ScrollX label="Table">
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
                    {k.name} {k.limitedTo && <Chip>only {k.limitedTo}</Chip>}
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
                      onClick={() => setRevoking(k)}
                    />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </ScrollX>
      )}
      {revoking && (
        <FormDialog
          title={`Revoke key ${revoking.name}?`}
          submit="Revoke"
          danger
          close={() => setRevoking(undefined)}
          run={async () => {
            await client.DELETE("/v1/service-accounts/{serviceAccountId}/api-keys/{keyId}", {
              params: { path: { ...path, keyId: revoking.clientId } },
            });
            await changed();
          }}
        >
          <p>The server rejects the key and its tokens from the next request on.</p>
        </FormDialog>
      )}
    </>
  );
}

/** NewKey asks for the name and the lifetime of a new key. */
export function NewKey({
  account,
  close,
  created,
}: {
  account: Account;
  close: () => void;
  created: (k: Schemas["APIKeyWithSecret"]) => void;
}) {
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
        field="name"
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
