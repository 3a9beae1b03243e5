// SPDX-License-Identifier: Apache-2.0

import { Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { type Address, client, idempotent, type Pod, type Service } from "../api/client";
import { useLive } from "../api/live";
import { useHasRole } from "../api/role";
import { parsePorts, portText } from "../lib/servicePorts";
import { Button } from "../ui/Button";
import { Check } from "../ui/Check";
import { Copy } from "../ui/Copy";
import { FormDialog } from "../ui/Dialog";
import { Area, Input, NAME, Select } from "../ui/Field";
import { ListPage } from "../ui/ListPage";
import type { Column } from "../ui/tableColumns";
import { toast } from "../ui/toasts";
import { When } from "../ui/When";

/** Addresses lists floating addresses, at which others outside reach services and pods. */
export function Addresses() {
  const canChange = useHasRole("developer");
  const addresses = useLive<Address>("addresses");
  const [creating, setCreating] = useState(false);
  const [binding, setBinding] = useState<Address>();
  const [deleting, setDeleting] = useState<Address>();
  const columns = useMemo(
    (): Column<Address>[] => [
      { name: "Name", width: "minmax(110px, 1fr)", sort: (a) => a.name, cell: (a) => <span className="strong">{a.name}</span> },
      { name: "Address", width: "minmax(130px, 1fr)", cell: (a) => <Copy text={a.status.address} label="the address" /> },
      { name: "Target", width: "minmax(0, 1.2fr)", sort: targetText, cell: (a) => <Target of={a} /> },
      { name: "Ports", width: "minmax(0, 1fr)", wide: true, cell: portsText },
      { name: "Age", width: "92px", wide: true, sort: (a) => -Date.parse(a.createdAt), cell: (a) => <When at={a.createdAt} /> },
      ...(canChange
        ? [
            {
              name: "Actions",
              width: "136px",
              cell: (a: Address) => (
                <>
                  <Button small look="quiet" aria-label={`Bind address ${a.name}`} onClick={() => setBinding(a)}>
                    Bind
                  </Button>
                  <Button small look="quiet" icon="trash" aria-label={`Delete address ${a.name}`} onClick={() => setDeleting(a)} />
                </>
              ),
            },
          ]
        : []),
    ],
    [canChange],
  );
  const create = canChange && (
    <Button look="primary" onClick={() => setCreating(true)}>
      Create an address
    </Button>
  );
  return (
    <ListPage
      title="Floating addresses"
      one="floating address"
      many="floating addresses"
      list={addresses}
      columns={columns}
      sortedBy={["Name", false]}
      id={(a) => a.id}
      search="Name, address, target or ID"
      matches={(a, q) => a.name.includes(q) || a.status.address.includes(q) || targetText(a).includes(q) || a.id === q}
      create={create}
      empty={<p>Others outside of your networks reach a service or a pod at a floating address, and nothing else.</p>}
    >
      {creating && <Form close={() => setCreating(false)} />}
      {binding && <Form address={binding} close={() => setBinding(undefined)} />}
      {deleting && <DeleteAddress address={deleting} close={() => setDeleting(undefined)} />}
    </ListPage>
  );
}

const targetText = (a: Address) =>
  a.target?.serviceId ? `service ${a.status.targetName}` : a.target?.podId ? `pod ${a.status.targetName}` : "";

function Target({ of }: { of: Address }) {
  const { target } = of;
  if (target?.serviceId)
    return (
      <Link to="/services/$serviceId" params={{ serviceId: target.serviceId }}>
        {targetText(of)}
      </Link>
    );
  if (target?.podId)
    return (
      <Link to="/pods/$podId" params={{ podId: target.podId }}>
        {targetText(of)}
      </Link>
    );
  return "reserved";
}

const portsText = (a: Address) => {
  if (!a.target) return "";
  if (a.target.serviceId) return "those of the service";
  return a.target.ports?.length ? a.target.ports.map(portText).join(", ") : "all";
};

/** Form creates an address, or binds one to another target. */
function Form({ address, close }: { address?: Address; close: () => void }) {
  const services = useLive<Service>("services");
  const pods = useLive<Pod>("pods");
  const [name, setName] = useState("");
  const [to, setTo] = useState(address?.target?.serviceId ?? address?.target?.podId ?? "");
  const [ports, setPorts] = useState(address?.target?.ports?.map(portText).join("\n") ?? "");
  const [withTarget, setWithTarget] = useState(address?.deleteWithTarget ?? false);
  const [header] = useState(idempotent);
  const isPod = pods.items.some((p) => p.id === to);
  const run = async () => {
    const published = parsePorts(ports).map(({ name: _, ...port }) => port);
    const target = to === "" ? {} : isPod ? { podId: to, ports: published } : { serviceId: to };
    const body = { target, deleteWithTarget: to !== "" && withTarget };
    if (address) await client.PATCH("/v1/addresses/{addressId}", { params: { path: { addressId: address.id } }, body });
    else await client.POST("/v1/addresses", { params: { header }, body: { name, ...body } });
    toast(address ? `Address ${address.name} is changed.` : `Address ${name} is created.`);
  };
  return (
    <FormDialog
      title={address ? `Bind address ${address.name}` : "Create an address"}
      submit={address ? "Save" : "Create"}
      close={close}
      run={run}
    >
      {!address && <Input label="Name" field="name" value={name} onChange={setName} pattern={NAME} maxLength={63} required autoFocus />}
      <Select
        label="Target"
        value={to}
        onChange={setTo}
        options={[
          ["", "None: the address is only reserved"],
          ...services.items.filter((s) => !s.headless).map((s): [string, string] => [s.id, `service ${s.name}`]),
          ...pods.items.map((p): [string, string] => [p.id, `pod ${p.name}`]),
        ]}
      />
      {isPod && (
        <Area label="Ports" value={ports} onChange={setPorts} rows={2} hint="One on each line: 80, 80:8080 or 53/udp. None: all ports" />
      )}
      {to !== "" && <Check label="Delete the address together with its target" checked={withTarget} onChange={setWithTarget} />}
    </FormDialog>
  );
}

function DeleteAddress({ address, close }: { address: Address; close: () => void }) {
  const run = async () => {
    await client.DELETE("/v1/addresses/{addressId}", { params: { path: { addressId: address.id } } });
    toast(`Address ${address.name} is deleted.`);
  };
  return (
    <FormDialog title={`Delete address ${address.name}?`} submit="Delete" danger close={close} run={run}>
      <p>
        {address.status.address} returns to the pool, and somebody else may get it. Its target is not affected, and is not reached there any
        more.
      </p>
    </FormDialog>
  );
}
