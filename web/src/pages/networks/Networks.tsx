// SPDX-License-Identifier: Apache-2.0

import { Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { client, idempotent, type Network, type Pod } from "../../api/client";
import { useLive } from "../../api/live";
import { useHasRole } from "../../api/role";
import { count, plural } from "../../lib/format";
import { phaseOf } from "../../lib/podState";
import { Badge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { Check } from "../../ui/Check";
import { Copy } from "../../ui/Copy";
import { DataTable } from "../../ui/DataTable";
import { FormDialog } from "../../ui/Dialog";
import { Empty } from "../../ui/Empty";
import { Input, NAME } from "../../ui/Field";
import { Hint } from "../../ui/Hint";
import { Loading } from "../../ui/Loading";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { ShortTable } from "../../ui/ShortTable";
import type { Column } from "../../ui/tableColumns";
import { toast } from "../../ui/toasts";
import { When } from "../../ui/When";
import { NetworkMap } from "./NetworkMap";

const octets = (address = "") => address.split(".").reduce((n, part) => n * 256 + Number(part), 0);

/** An address of a pod in one of its networks. */
interface Place {
  id: string;
  pod: Pod;
  network: string;
  address: string;
  ipv6Address?: string;
}

const placesOf = (pod: Pod): Place[] =>
  (pod.status.interfaces ?? []).map((i) => ({
    id: `${pod.id} ${i.network}`,
    pod,
    network: i.network,
    address: i.address,
    ipv6Address: i.ipv6Address,
  }));

/** Networks lists the tenant's networks, and the addresses of pods in them. */
export function Networks() {
  const canChange = useHasRole("developer");
  const networks = useLive<Network>("networks");
  const pods = useLive<Pod>("pods");
  const [creating, setCreating] = useState(false);
  const [deleting, setDeleting] = useState<Network>();
  const places = useMemo(() => pods.items.flatMap(placesOf), [pods.items]);
  const columns = useMemo(
    (): Column<Network>[] => [
      { name: "Name", width: "minmax(100px, 1.2fr)", sort: (n) => n.name, cell: (n) => <span className="strong">{n.name}</span> },
      {
        name: "Range",
        width: "minmax(150px, 1fr)",
        sort: (n) => octets(n.cidr.split("/")[0]),
        cell: (n) => <Copy text={n.cidr} label="the range" />,
      },
      { name: "IPv6", width: "minmax(0, 1fr)", wide: true, cell: (n) => n.ipv6Cidr },
      { name: "Pods", width: "64px", sort: (n) => n.status.pods, cell: (n) => count(n.status.pods), numeric: true },
      { name: "Outside", width: "minmax(0, 1fr)", wide: true, cell: (n) => (n.isolated ? "isolated" : n.status.outerAddress) },
      { name: "Age", width: "92px", wide: true, sort: (n) => -Date.parse(n.createdAt), cell: (n) => <When at={n.createdAt} /> },
      ...(canChange
        ? [
            {
              name: "Actions",
              width: "72px",
              cell: (n: Network) =>
                n.name !== "default" && (
                  <Button small look="quiet" icon="trash" aria-label={`Delete network ${n.name}`} onClick={() => setDeleting(n)} />
                ),
            },
          ]
        : []),
    ],
    [canChange],
  );
  const addresses = useMemo(
    (): Column<Place>[] => [
      {
        name: "Address",
        width: "minmax(120px, 1fr)",
        sort: (p) => octets(p.address),
        cell: (p) => <Copy text={p.address} label="the address" />,
      },
      { name: "IPv6", width: "minmax(0, 1fr)", wide: true, cell: (p) => p.ipv6Address },
      { name: "Network", width: "minmax(0, 1fr)", wide: true, sort: (p) => p.network, cell: (p) => p.network },
      {
        name: "Pod",
        width: "minmax(0, 1.5fr)",
        sort: (p) => p.pod.name,
        cell: (p) => (
          <Link to="/pods/$podId" params={{ podId: p.pod.id }}>
            {p.pod.name}
          </Link>
        ),
      },
      { name: "State", width: "112px", sort: (p) => p.pod.status.phase, cell: (p) => <Badge state={phaseOf(p.pod)} /> },
      { name: "Node", width: "minmax(0, 1fr)", wide: true, sort: (p) => p.pod.status.nodeName ?? "", cell: (p) => p.pod.status.nodeName },
    ],
    [],
  );
  return (
    <>
      <PageHead title="Networks" lead={networks.synced ? plural(networks.items.length, "network") : undefined}>
        {canChange && (
          <Button look="primary" onClick={() => setCreating(true)}>
            Create a network
          </Button>
        )}
      </PageHead>
      {(networks.broken || pods.broken) && <Problem error={networks.broken ?? pods.broken} title="This list is not up to date." />}
      {!networks.synced && !networks.broken && <Loading what="Loading networks" />}
      {networks.items.length > 0 && (
        <ShortTable label="Networks" rows={networks.items} columns={columns} id={(n) => n.id} sortedBy={["Name", false]} />
      )}
      {networks.items.length > 0 && <NetworkMap networks={networks.items} pods={pods.items} />}
      <Card title="Addresses">
        <Hint>
          A pod keeps its addresses until it is deleted. To connect to a pod's port from your own machine, run{" "}
          <code>husk port-forward POD 8080:80</code>.
        </Hint>
        {pods.synced && places.length === 0 && (
          <Empty title="No addresses yet">
            <p>Each pod gets an address when it is created.</p>
          </Empty>
        )}
        {places.length > 0 && (
          <DataTable label="Addresses" rows={places} columns={addresses} id={(p) => p.id} sortedBy={["Address", false]} />
        )}
      </Card>
      {creating && <CreateNetwork close={() => setCreating(false)} />}
      {deleting && <DeleteNetwork network={deleting} close={() => setDeleting(undefined)} />}
    </>
  );
}

function CreateNetwork({ close }: { close: () => void }) {
  const [name, setName] = useState("");
  const [cidr, setCidr] = useState("");
  const [ipv6Cidr, setIPv6Cidr] = useState("");
  const [isolated, setIsolated] = useState(false);
  const [header] = useState(idempotent);
  const run = async () => {
    await client.POST("/v1/networks", {
      params: { header },
      body: { name, isolated, ...(cidr && { cidr }), ...(ipv6Cidr && { ipv6Cidr }) },
    });
    toast(`Network ${name} is created.`);
  };
  return (
    <FormDialog title="Create a network" submit="Create" close={close} run={run}>
      <Input label="Name" field="name" value={name} onChange={setName} pattern={NAME} maxLength={63} required autoFocus />
      <Input
        label="Range"
        value={cidr}
        onChange={setCidr}
        maxLength={18}
        hint="Private addresses, such as 10.1.0.0/24. Empty: a free range"
      />
      <Input label="IPv6 range" value={ipv6Cidr} onChange={setIPv6Cidr} maxLength={43} hint="Such as fd00:1::/64. Empty: no IPv6" />
      <Check label="Isolated: its pods reach only each other" checked={isolated} onChange={setIsolated} />
    </FormDialog>
  );
}

function DeleteNetwork({ network, close }: { network: Network; close: () => void }) {
  const run = async () => {
    await client.DELETE("/v1/networks/{networkId}", { params: { path: { networkId: network.id } } });
    toast(`Network ${network.name} is deleted.`);
  };
  return (
    <FormDialog title={`Delete network ${network.name}?`} submit="Delete" danger close={close} run={run}>
      <p>A network with pods cannot be deleted.</p>
    </FormDialog>
  );
}
