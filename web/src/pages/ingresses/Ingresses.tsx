// SPDX-License-Identifier: Apache-2.0

import { Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { client, type Ingress, idempotent } from "../../api/client";
import { useLive } from "../../api/live";
import { useHasRole } from "../../api/role";
import { parseRules } from "../../lib/ingressRules";
import { Button } from "../../ui/Button";
import { FormDialog } from "../../ui/Dialog";
import { Area, Input, NAME } from "../../ui/Field";
import { ListPage } from "../../ui/ListPage";
import type { Column } from "../../ui/tableColumns";
import { toast } from "../../ui/toasts";
import { When } from "../../ui/When";

export const RULES_HINT = "One on each line: www.example.com=web:80 or www.example.com/api=api:8080";

/** Ingresses lists ingresses: hosts and paths that reach services from outside. */
export function Ingresses() {
  const canChange = useHasRole("developer");
  const ingresses = useLive<Ingress>("ingresses");
  const [creating, setCreating] = useState(false);
  const [deleting, setDeleting] = useState<Ingress>();
  const columns = useMemo(
    (): Column<Ingress>[] => [
      {
        name: "Name",
        width: "minmax(110px, 1fr)",
        sort: (i) => i.name,
        cell: (i) => (
          <Link to="/ingresses/$ingressId" params={{ ingressId: i.id }} className="strong">
            {i.name}
          </Link>
        ),
      },
      { name: "Hosts", width: "minmax(0, 1.6fr)", cell: (i) => i.rules.map((r) => r.host).join(", ") },
      { name: "Certificates", width: "120px", cell: certificates },
      {
        name: "Services",
        width: "minmax(0, 1fr)",
        wide: true,
        cell: (i) => [...new Set(i.rules.flatMap((r) => r.paths.map((p) => `${p.service}:${p.port}`)))].join(", "),
      },
      { name: "Age", width: "92px", wide: true, sort: (i) => -Date.parse(i.createdAt), cell: (i) => <When at={i.createdAt} /> },
      ...(canChange
        ? [
            {
              name: "Actions",
              width: "72px",
              cell: (i: Ingress) => (
                <Button small look="quiet" icon="trash" aria-label={`Delete ingress ${i.name}`} onClick={() => setDeleting(i)} />
              ),
            },
          ]
        : []),
    ],
    [canChange],
  );
  const create = canChange && (
    <Button look="primary" onClick={() => setCreating(true)}>
      Create an ingress
    </Button>
  );
  return (
    <ListPage
      title="Ingresses"
      one="ingress"
      many="ingresses"
      list={ingresses}
      columns={columns}
      sortedBy={["Name", false]}
      id={(i) => i.id}
      search="Name, host or ID"
      matches={(i, q) => i.name.includes(q) || i.id === q || i.rules.some((r) => r.host.includes(q))}
      create={create}
      empty={<p>An ingress makes services reachable from outside, over HTTPS. The platform gets the certificates.</p>}
    >
      {creating && <CreateIngress close={() => setCreating(false)} />}
      {deleting && <DeleteIngress ingress={deleting} close={() => setDeleting(undefined)} />}
    </ListPage>
  );
}

/** certificates is how many hosts have a certificate, of how many. */
export const certificates = (i: Ingress) => `${i.status.hosts.filter((h) => h.state === "Ready").length}/${i.status.hosts.length} ready`;

function CreateIngress({ close }: { close: () => void }) {
  const [name, setName] = useState("");
  const [rules, setRules] = useState("");
  const [header] = useState(idempotent);
  const run = async () => {
    await client.POST("/v1/ingresses", { params: { header }, body: { name, rules: parseRules(rules) } });
    toast(`Ingress ${name} is created.`);
  };
  return (
    <FormDialog title="Create an ingress" submit="Create" close={close} run={run}>
      <Input label="Name" field="name" value={name} onChange={setName} pattern={NAME} maxLength={63} required autoFocus />
      <Area label="Rules" value={rules} onChange={setRules} rows={4} hint={RULES_HINT} />
    </FormDialog>
  );
}

export function DeleteIngress({ ingress, close, deleted }: { ingress: Ingress; close: () => void; deleted?: () => void }) {
  const run = async () => {
    await client.DELETE("/v1/ingresses/{ingressId}", { params: { path: { ingressId: ingress.id } } });
    toast(`Ingress ${ingress.name} is deleted.`);
    deleted?.();
  };
  return (
    <FormDialog title={`Delete ingress ${ingress.name}?`} submit="Delete" danger close={close} run={run}>
      <p>Its hosts are not served any more, and other tenants can have them. Its services are not affected.</p>
    </FormDialog>
  );
}
