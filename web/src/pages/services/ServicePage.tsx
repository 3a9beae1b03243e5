// SPDX-License-Identifier: Apache-2.0

import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { type Address, client, type HuskEvent, type Schemas, type Service } from "../../api/client";
import { useLive } from "../../api/live";
import { useHasRole } from "../../api/role";
import { parsePorts, portText } from "../../lib/servicePorts";
import { Badge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { Cards } from "../../ui/Cards";
import { Copy } from "../../ui/Copy";
import { FormDialog } from "../../ui/Dialog";
import { Empty } from "../../ui/Empty";
import { EventList } from "../../ui/EventList";
import { Facts } from "../../ui/Facts";
import { Area, Input } from "../../ui/Field";
import { Hint } from "../../ui/Hint";
import { Labels } from "../../ui/Labels";
import { Loading } from "../../ui/Loading";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { ShortTable } from "../../ui/ShortTable";
import type { Column } from "../../ui/tableColumns";
import { toast } from "../../ui/toasts";
import { When } from "../../ui/When";
import { DeleteService, readiness } from "./Services";

type Endpoint = Schemas["ServiceEndpoint"];

/** ServicePage shows one service with its endpoints and its events. */
export function ServicePage() {
  const { serviceId } = useParams({ from: "/app/services/$serviceId" });
  const navigate = useNavigate();
  const canChange = useHasRole("developer");
  const live = useLive<Service>("services");
  const events = useLive<HuskEvent>("events", { objectId: serviceId });
  const outside = useLive<Address>("addresses").items.filter((a) => a.target?.serviceId === serviceId);
  const [changing, setChanging] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const service = live.items.find((s) => s.id === serviceId);
  const columns = useMemo(
    (): Column<Endpoint>[] => [
      {
        name: "Pod",
        width: "minmax(0, 1fr)",
        cell: (e) => (
          <Link to="/pods/$podId" params={{ podId: e.podId }}>
            {e.podName}
          </Link>
        ),
      },
      { name: "Address", width: "minmax(120px, 1fr)", cell: (e) => <Copy text={e.address} label="the address" /> },
      { name: "State", width: "112px", cell: (e) => <Badge state={e.ready ? "Ready" : "NotReady"} /> },
    ],
    [],
  );
  if (!service && !live.synced) return live.broken ? <Problem error={live.broken} /> : <Loading what="Loading the service" />;
  if (!service)
    return (
      <Empty title="Service not found" action={<Link to="/services">All services</Link>}>
        <p>It may have been deleted, or it belongs to another tenant.</p>
      </Empty>
    );
  const { status } = service;
  const listed = status.endpoints.length;
  return (
    <>
      <PageHead title={service.name} lead={<Labels labels={service.labels} />}>
        {canChange && (
          <>
            <Button onClick={() => setChanging(true)}>Change</Button>
            <Button icon="trash" look="danger" onClick={() => setDeleting(true)}>
              Delete
            </Button>
          </>
        )}
      </PageHead>
      <Cards two>
        <Card title="Details">
          <Facts
            of={[
              [
                "Address",
                status.address ? <Copy key="address" text={status.address} label="the address" /> : "none: the service is headless",
              ],
              ["Outside address", outside.map((a) => a.status.address).join(", ")],
              ["Ports", service.ports.map(portText).join(", ") || "none"],
              ["Selector", service.selector],
              ["Security groups", service.securityGroups?.join(", ")],
              ["Affinity", service.affinity === "client" ? `a client keeps its pod for ${service.affinityTimeoutSeconds} seconds` : "none"],
              ["Ready endpoints", readiness(service)],
              ["Created", <When key="created" at={service.createdAt} />],
              ["ID", <Copy key="id" text={service.id} label="the ID" />],
            ]}
          />
        </Card>
        <Card title="Events">{events.synced ? <EventList events={[...events.items].reverse()} bare /> : <Loading />}</Card>
      </Cards>
      <Card title="Endpoints">
        {listed === 0 && <p>No running pod has the labels of the selector.</p>}
        {listed > 0 && <ShortTable label="Endpoints" rows={status.endpoints} columns={columns} id={(e) => e.podId} />}
        {listed < status.readyEndpoints + status.notReadyEndpoints && <Hint>The first {listed} endpoints are listed.</Hint>}
      </Card>
      {changing && <ChangeService service={service} close={() => setChanging(false)} />}
      {deleting && <DeleteService service={service} close={() => setDeleting(false)} deleted={() => void navigate({ to: "/services" })} />}
    </>
  );
}

function ChangeService({ service, close }: { service: Service; close: () => void }) {
  const [selector, setSelector] = useState(service.selector);
  const [ports, setPorts] = useState(service.ports.map(portText).join("\n"));
  const [groups, setGroups] = useState(service.securityGroups?.join(" ") ?? "");
  const run = async () => {
    await client.PATCH("/v1/services/{serviceId}", {
      params: { path: { serviceId: service.id } },
      body: { selector, ports: parsePorts(ports), securityGroups: groups.split(/[\s,]+/).filter(Boolean) },
    });
    toast(`Service ${service.name} is changed.`);
  };
  return (
    <FormDialog title={`Change service ${service.name}`} submit="Save" close={close} run={run}>
      <Input label="Selector" value={selector} onChange={setSelector} maxLength={1000} required />
      <Area label="Ports" value={ports} onChange={setPorts} rows={4} hint="One on each line: 80, 80:8080, http=80:8080 or dns=53/udp" />
      <Input
        label="Security groups"
        value={groups}
        onChange={setGroups}
        hint="Names with spaces in between. All pods of the service are in these groups."
      />
    </FormDialog>
  );
}
