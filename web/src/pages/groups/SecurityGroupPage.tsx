// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useMemo } from "react";
import { client, data, type Schemas, type SecurityGroup } from "../../api/client";
import { useLive } from "../../api/live";
import { useKeys } from "../../api/queries";
import { count } from "../../lib/format";
import { ruleText } from "../../lib/securityRules";
import { Card } from "../../ui/Card";
import { Copy } from "../../ui/Copy";
import { Empty } from "../../ui/Empty";
import { Facts } from "../../ui/Facts";
import { Hint } from "../../ui/Hint";
import { Labels } from "../../ui/Labels";
import { Loading } from "../../ui/Loading";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { ShortTable } from "../../ui/ShortTable";
import type { Column } from "../../ui/tableColumns";
import { When } from "../../ui/When";

type Drop = Schemas["SecurityDrop"];
type Counted = { name: string; packets: number; bytes: number };

/** SecurityGroupPage shows one security group, with what it has allowed and dropped. */
export function SecurityGroupPage() {
  const { groupId } = useParams({ from: "/app/security-groups/$groupId" });
  const keys = useKeys();
  const live = useLive<SecurityGroup>("security-groups");
  const group = live.items.find((g) => g.id === groupId);
  const traffic = useQuery({
    queryKey: keys.groupTraffic(groupId),
    queryFn: () => data(client.GET("/v1/security-groups/{securityGroupId}/traffic", { params: { path: { securityGroupId: groupId } } })),
    refetchInterval: 10_000,
    enabled: group !== undefined,
  });
  const counted = useMemo((): Counted[] => {
    if (!group || !traffic.data) return [];
    const { rules, dropped } = traffic.data;
    return [
      ...group.rules.map((r) => {
        const n = rules.find((t) => t.number === r.number);
        return { name: ruleText(r), packets: n?.packets ?? 0, bytes: n?.bytes ?? 0 };
      }),
      ...dropped.map((d) => ({
        name: d.direction === "ingress" ? "dropped on the way in" : "dropped on the way out",
        packets: d.packets,
        bytes: d.bytes,
      })),
    ];
  }, [group, traffic.data]);
  const countColumns = useMemo(
    (): Column<Counted>[] => [
      { name: "Rule", width: "minmax(0, 2fr)", cell: (c) => c.name },
      { name: "Packets", width: "112px", cell: (c) => count(c.packets), numeric: true },
      { name: "Bytes", width: "128px", cell: (c) => count(c.bytes), numeric: true },
    ],
    [],
  );
  const dropColumns = useMemo(
    (): Column<Drop>[] => [
      { name: "Time", width: "92px", cell: (d) => <When at={d.at} /> },
      { name: "Direction", width: "92px", cell: (d) => d.direction },
      { name: "Protocol", width: "84px", cell: (d) => d.protocol },
      { name: "From", width: "minmax(0, 1fr)", cell: (d) => end(d.source, d.sourcePort) },
      { name: "To", width: "minmax(0, 1fr)", cell: (d) => end(d.destination, d.destinationPort) },
    ],
    [],
  );
  if (!group && !live.synced) return live.broken ? <Problem error={live.broken} /> : <Loading what="Loading the security group" />;
  if (!group)
    return (
      <Empty title="Security group not found" action={<Link to="/security-groups">All security groups</Link>}>
        <p>It may have been deleted, or it belongs to another tenant.</p>
      </Empty>
    );
  const drops = traffic.data?.drops ?? [];
  return (
    <>
      <PageHead title={group.name} lead={<Labels labels={group.labels} />} />
      <Card title="Details">
        <Facts
          of={[
            ["Pods", group.status.pods],
            ["Selector", group.selector],
            ["Restricts", group.restricts.join(", ") || "nothing"],
            ["Created", <When key="created" at={group.createdAt} />],
            ["ID", <Copy key="id" text={group.id} label="the ID" />],
          ]}
        />
      </Card>
      <Problem error={traffic.error} retry={() => void traffic.refetch()} />
      <Card title="Allowed and dropped">
        {counted.length === 0 && <p>The group has no rules and restricts nothing.</p>}
        {counted.length > 0 && <ShortTable label="Allowed and dropped" rows={counted} columns={countColumns} id={(c) => c.name} />}
        <Hint>Packets of connections, without the answers. Nodes report them every 10 seconds.</Hint>
      </Card>
      <Card title="Dropped packets">
        {drops.length === 0 && <p>No packets were dropped.</p>}
        {drops.length > 0 && (
          <ShortTable
            label="Dropped packets"
            rows={drops}
            columns={dropColumns}
            id={(d) => `${d.at} ${d.source} ${d.sourcePort} ${d.destination} ${d.destinationPort}`}
          />
        )}
      </Card>
    </>
  );
}

const end = (address: string, port?: number) => (port ? `${address.includes(":") ? `[${address}]` : address}:${port}` : address);
