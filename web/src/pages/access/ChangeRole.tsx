// SPDX-License-Identifier: Apache-2.0

import { useState } from "react";
import type { Role } from "../../api/client";
import { useSession } from "../../api/session";
import { Button } from "../../ui/Button";
import { Chip } from "../../ui/Chip";
import { FormDialog } from "../../ui/Dialog";
import { Select } from "../../ui/Field";
import { Note } from "../../ui/Note";
import { toast } from "../../ui/toasts";
import styles from "./ChangeRole.module.css";
import { ROLES, useChanged } from "./queries";

/** ChangeRole shows a role with a button that opens a dialog to change it. Only the dialog's button changes the role, so that no single key does. */
export function ChangeRole({ id, name, role, set }: { id: string; name: string; role: Role; set: (role: Role) => Promise<unknown> }) {
  const [open, setOpen] = useState(false);
  return (
    <span className={styles.role}>
      <Chip>{role}</Chip>
      <Button small look="quiet" aria-label={`Change the role of ${name}`} onClick={() => setOpen(true)}>
        Change
      </Button>
      {open && <RoleDialog {...{ id, name, role, set }} close={() => setOpen(false)} />}
    </span>
  );
}

interface RoleDialogProps {
  id: string;
  name: string;
  role: Role;
  set: (role: Role) => Promise<unknown>;
  close: () => void;
}

function RoleDialog({ id, name, role, set, close }: RoleDialogProps) {
  const changed = useChanged();
  const session = useSession();
  const [chosen, setChosen] = useState(role);
  const run = async () => {
    if (chosen === role) return;
    await set(chosen);
    toast(`${name} is now ${chosen}.`);
    await changed();
  };
  return (
    <FormDialog
      title={`Change the role of ${name}`}
      submit={chosen === role ? "Keep the role" : `Make ${name} ${chosen}`}
      danger={chosen !== role && (role === "owner" || chosen === "owner")}
      close={close}
      run={run}
    >
      <Select label="Role" value={chosen} onChange={(r) => setChosen(r as Role)} options={ROLES} />
      {chosen !== role && (
        <Note>
          {chosen === "owner"
            ? `${name} will be able to change everybody's access, including yours.`
            : `The server rejects the tokens of ${name} with the role ${role} from the next request on.`}
          {session.id === id && " This is you: you are signed out."}
        </Note>
      )}
    </FormDialog>
  );
}
