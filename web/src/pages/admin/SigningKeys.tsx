// SPDX-License-Identifier: Apache-2.0

import { useState } from "react";
import { client, data, type Schemas } from "../../api/client";
import { Badge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { FormDialog } from "../../ui/Dialog";
import { Loading } from "../../ui/Loading";
import { Problem } from "../../ui/Problem";
import { ScrollX } from "../../ui/ScrollX";
import { When } from "../../ui/When";
import { useChangedPlatform, usePlatform } from "./queries";

type Key = Schemas["SigningKey"];

/** SigningKeys lists the keys that sign tokens. */
export function SigningKeys() {
  const keys = usePlatform("signing keys", () => data(client.GET("/v1/admin/signing-keys")));
  const changed = useChangedPlatform();
  const [dialog, setDialog] = useState<"rotate" | { remove: Key }>();
  const close = () => setDialog(undefined);
  return (
    <Card
      title="Signing keys"
      actions={
        <Button small onClick={() => setDialog("rotate")}>
          Rotate
        </Button>
      }
    >
      <Problem error={keys.error} retry={() => void keys.refetch()} />
      {keys.isPending && <Loading />}
      <ScrollX label="Signing keys">
        <table>
          <thead>
            <tr>
              <th>Key</th>
              <th>State</th>
              <th>Created</th>
              <th>Actions</th>
            </tr>
          </thead>
          <tbody>
            {keys.data?.map((k) => (
              <tr key={k.kid}>
                <td>
                  <code className="break">{k.kid}</code>
                </td>
                <td>
                  <Badge state={k.state} />
                </td>
                <td>
                  <When at={k.createdAt} />
                </td>
                <td>
                  <Button small look="quiet" icon="trash" aria-label={`Delete key ${k.kid}`} onClick={() => setDialog({ remove: k })} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </ScrollX>
      {dialog === "rotate" && (
        <FormDialog
          title="Create a new signing key?"
          submit="Rotate"
          close={close}
          run={async () => {
            await client.POST("/v1/admin/signing-keys");
            await changed();
          }}
        >
          <p>Keys also rotate by themselves. The new key signs tokens once every server has loaded it, and old tokens stay valid.</p>
        </FormDialog>
      )}
      {typeof dialog === "object" && (
        <FormDialog
          title="Delete a leaked signing key?"
          submit="Delete"
          danger
          close={close}
          run={async () => {
            await client.DELETE("/v1/admin/signing-keys/{kid}", { params: { path: { kid: dialog.remove.kid } } });
            await changed();
          }}
        >
          <p>The server rejects every token that this key has signed. Users and programs have to log in again, perhaps you too.</p>
        </FormDialog>
      )}
    </Card>
  );
}
