// SPDX-License-Identifier: Apache-2.0

import type { Schemas } from "../api/client";
import { Button } from "./Button";
import { Copy } from "./Copy";
import { Dialog } from "./Dialog";
import { DialogActions } from "./DialogActions";
import { Facts } from "./Facts";
import { Hint } from "./Hint";
import { Note } from "./Note";

/** CreatedKey shows the secret of a new key. The secret cannot be shown again. */
export function CreatedKey({ created, close }: { created: Schemas["APIKeyWithSecret"]; close: () => void }) {
  return (
    <Dialog title={`Key ${created.name} created`} close={close} stays>
      <Note>Copy the secret now. It is not shown again.</Note>
      <Facts
        of={[
          ["Key ID", <Copy key="id" text={created.clientId} label="the key's ID" />],
          ["Secret", <Copy key="secret" text={created.clientSecret} label="the secret" />],
        ]}
      />
      <Hint>
        To sign in with the command:{" "}
        <code>
          husk login {location.origin} --client-id {created.clientId}
        </code>
        . It asks for the secret.
      </Hint>
      <DialogActions>
        <Button look="primary" onClick={close}>
          I have saved it
        </Button>
      </DialogActions>
    </Dialog>
  );
}
