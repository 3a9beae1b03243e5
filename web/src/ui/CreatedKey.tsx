// SPDX-License-Identifier: Apache-2.0

import type { Schemas } from "../api/client";
import { Button } from "./Button";
import { Dialog } from "./Dialog";
import { Copy } from "./parts";

/** CreatedKey shows the secret of a new key. The secret cannot be shown again. */
export function CreatedKey({ created, close }: { created: Schemas["APIKeyWithSecret"]; close: () => void }) {
  return (
    <Dialog title={`Key ${created.name} created`} close={close} stays>
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
