// SPDX-License-Identifier: Apache-2.0

import { useState } from "react";
import { client, data, type Node } from "../../api/client";
import { dateTime } from "../../lib/format";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { FormDialog } from "../../ui/Dialog";
import { Problem } from "../../ui/Problem";
import { ScrollX } from "../../ui/ScrollX";
import { When } from "../../ui/When";
import { useChangedPlatform, usePlatform } from "./queries";

/** Certificates lists the certificates of a node's agent. */
export function Certificates({ node }: { node: Node }) {
  const path = { nodeId: node.id };
  const list = usePlatform(`certificates ${node.id}`, () =>
    data(client.GET("/v1/admin/nodes/{nodeId}/certificates", { params: { path } })),
  );
  const changed = useChangedPlatform();
  const [revoking, setRevoking] = useState(false);
  return (
    <Card
      title="Certificates"
      actions={
        <Button small look="danger" onClick={() => setRevoking(true)}>
          Revoke all
        </Button>
      }
    >
      <Problem error={list.error} retry={() => void list.refetch()} />
      <ScrollX label="Certificates">
        <table>
          <thead>
            <tr>
              <th>Serial number</th>
              <th>Issued</th>
              <th>Expires</th>
              <th>Revoked</th>
            </tr>
          </thead>
          <tbody>
            {list.data?.map((c) => (
              <tr key={c.serial}>
                <td>
                  <code className="break">{c.serial}</code>
                </td>
                <td>
                  <When at={c.createdAt} />
                </td>
                <td>{dateTime(c.expiresAt)}</td>
                <td>{c.revokedAt ? dateTime(c.revokedAt) : "no"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </ScrollX>
      {revoking && (
        <FormDialog
          title={`Revoke every certificate of ${node.name}?`}
          submit="Revoke"
          danger
          close={() => setRevoking(false)}
          run={async () => {
            await client.DELETE("/v1/admin/nodes/{nodeId}/certificates", { params: { path } });
            await changed();
          }}
        >
          <p>The server rejects the agent's next request, and the node is lost. To bring it back, create a join token for it.</p>
        </FormDialog>
      )}
    </Card>
  );
}
