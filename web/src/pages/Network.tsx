// SPDX-License-Identifier: Apache-2.0

import { Link } from "@tanstack/react-router";
import { useMemo } from "react";
import type { Pod } from "../api/client";
import { useLive } from "../api/live";
import { Badge } from "../ui/Badge";
import { type Column, DataTable } from "../ui/DataTable";
import { Problem } from "../ui/Problem";
import { Card, Copy, Empty, Loading, PageHead } from "../ui/parts";

const octets = (address = "") => address.split(".").reduce((n, part) => n * 256 + Number(part), 0);

/** Network shows the tenant's network and the addresses of its pods. */
export function Network() {
  const pods = useLive<Pod>("pods");
  const rows = useMemo(() => pods.items.filter((p) => p.status.address), [pods.items]);
  const columns = useMemo(
    (): Column<Pod>[] => [
      {
        name: "Address",
        width: "minmax(120px, 1fr)",
        sort: (p) => octets(p.status.address),
        cell: (p) => <Copy text={p.status.address ?? ""} label="the address" />,
      },
      {
        name: "Pod",
        width: "minmax(0, 2fr)",
        sort: (p) => p.name,
        cell: (p) => (
          <Link to="/pods/$podId" params={{ podId: p.id }}>
            {p.name}
          </Link>
        ),
      },
      { name: "State", width: "112px", sort: (p) => p.status.phase, cell: (p) => <Badge state={p.status.phase} /> },
      { name: "Node", width: "minmax(0, 1fr)", wide: true, sort: (p) => p.status.nodeName ?? "", cell: (p) => p.status.nodeName },
    ],
    [],
  );
  return (
    <>
      <PageHead
        title="Network"
        lead="A private network. Your pods on the same node reach each other on all ports. Pods of other tenants cannot reach them."
      />
      <Card title="Addresses">
        <p className="hint">
          A pod keeps its address until it is deleted. To connect to a pod's port from your own machine, run{" "}
          <code>husk port-forward POD 8080:80</code>.
        </p>
      </Card>
      {pods.broken && <Problem error={pods.broken} title="This list is not up to date." />}
      {!pods.synced && !pods.broken && <Loading />}
      {pods.synced && rows.length === 0 && (
        <Empty title="No addresses yet">
          <p>Each pod gets an address when it is created.</p>
        </Empty>
      )}
      {rows.length > 0 && <DataTable label="Addresses" rows={rows} columns={columns} id={(p) => p.id} sortedBy={["Address", false]} />}
    </>
  );
}
