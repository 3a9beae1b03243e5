// SPDX-License-Identifier: Apache-2.0

import { Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { client, idempotent, type Service } from "../../api/client";
import { useLive } from "../../api/live";
import { useHasRole } from "../../api/role";
import { parsePorts, portText } from "../../lib/servicePorts";
import { Button } from "../../ui/Button";
import { Check } from "../../ui/Check";
import { FormDialog } from "../../ui/Dialog";
import { Area, Input, NAME, Select } from "../../ui/Field";
import { ListPage } from "../../ui/ListPage";
import type { Column } from "../../ui/tableColumns";
import { toast } from "../../ui/toasts";
import { When } from "../../ui/When";

/** Services lists services: one name and one address for several pods. */
export function Services() {
  const canChange = useHasRole("developer");
  const services = useLive<Service>("services");
  const [creating, setCreating] = useState(false);
  const [deleting, setDeleting] = useState<Service>();
  const columns = useMemo(
    (): Column<Service>[] => [
      {
        name: "Name",
        width: "minmax(110px, 1.2fr)",
        sort: (s) => s.name,
        cell: (s) => (
          <Link to="/services/$serviceId" params={{ serviceId: s.id }} className="strong">
            {s.name}
          </Link>
        ),
      },
      { name: "Address", width: "120px", cell: (s) => s.status.address ?? "headless" },
      { name: "Ready", width: "80px", sort: (s) => s.status.readyEndpoints, cell: readiness, numeric: true },
      { name: "Ports", width: "minmax(0, 1fr)", wide: true, cell: (s) => s.ports.map(portText).join(", ") },
      { name: "Selector", width: "minmax(0, 1.4fr)", wide: true, cell: (s) => s.selector },
      { name: "Age", width: "92px", wide: true, sort: (s) => -Date.parse(s.createdAt), cell: (s) => <When at={s.createdAt} /> },
      ...(canChange
        ? [
            {
              name: "Actions",
              width: "72px",
              cell: (s: Service) => (
                <Button small look="quiet" icon="trash" aria-label={`Delete service ${s.name}`} onClick={() => setDeleting(s)} />
              ),
            },
          ]
        : []),
    ],
    [canChange],
  );
  const create = canChange && (
    <Button look="primary" onClick={() => setCreating(true)}>
      Create a service
    </Button>
  );
  return (
    <ListPage
      title="Services"
      one="service"
      list={services}
      columns={columns}
      sortedBy={["Name", false]}
      id={(s) => s.id}
      search="Name, selector or ID"
      matches={(s, q) => s.name.includes(q) || s.selector.includes(q) || s.id === q}
      create={create}
      empty={<p>A service gives several pods one name and one address, which stay when the pods change.</p>}
    >
      {creating && <CreateService close={() => setCreating(false)} />}
      {deleting && <DeleteService service={deleting} close={() => setDeleting(undefined)} />}
    </ListPage>
  );
}

/** readiness is how many endpoints of a service get connections, of how many. */
export const readiness = (s: Service) => `${s.status.readyEndpoints}/${s.status.readyEndpoints + s.status.notReadyEndpoints}`;

function CreateService({ close }: { close: () => void }) {
  const [name, setName] = useState("");
  const [selector, setSelector] = useState("");
  const [ports, setPorts] = useState("");
  const [affinity, setAffinity] = useState("none");
  const [headless, setHeadless] = useState(false);
  const [header] = useState(idempotent);
  const run = async () => {
    await client.POST("/v1/services", {
      params: { header },
      body: { name, selector, ports: parsePorts(ports), headless, ...(affinity === "client" && { affinity: "client" as const }) },
    });
    toast(`Service ${name} is created.`);
  };
  return (
    <FormDialog title="Create a service" submit="Create" close={close} run={run}>
      <Input label="Name" field="name" value={name} onChange={setName} pattern={NAME} maxLength={63} required autoFocus />
      <Input
        label="Selector"
        value={selector}
        onChange={setSelector}
        maxLength={1000}
        required
        hint="The labels of the pods, such as app=web,track!=test"
      />
      <Area label="Ports" value={ports} onChange={setPorts} rows={2} hint="One on each line: 80, 80:8080, http=80:8080 or dns=53/udp" />
      <Check label="Headless: the name stands for the addresses of the pods" checked={headless} onChange={setHeadless} />
      {!headless && (
        <Select
          label="Affinity"
          value={affinity}
          onChange={setAffinity}
          options={[
            ["none", "Each connection goes to any ready pod"],
            ["client", "All connections of a client go to the same pod"],
          ]}
        />
      )}
    </FormDialog>
  );
}

export function DeleteService({ service, close, deleted }: { service: Service; close: () => void; deleted?: () => void }) {
  const run = async () => {
    await client.DELETE("/v1/services/{serviceId}", { params: { path: { serviceId: service.id } } });
    toast(`Service ${service.name} is deleted.`);
    deleted?.();
  };
  return (
    <FormDialog title={`Delete service ${service.name}?`} submit="Delete" danger close={close} run={run}>
      <p>Clients can no longer connect to its name and address. Its pods are not affected.</p>
    </FormDialog>
  );
}
