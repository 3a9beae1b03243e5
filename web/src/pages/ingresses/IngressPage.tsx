// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { client, data, type HuskEvent, type Ingress, type Schemas } from "../../api/client";
import { useLive } from "../../api/live";
import { useKeys } from "../../api/queries";
import { useHasRole } from "../../api/role";
import { parseRules, ruleLines } from "../../lib/ingressRules";
import { Badge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { Cards } from "../../ui/Cards";
import { Copy } from "../../ui/Copy";
import { FormDialog } from "../../ui/Dialog";
import { Empty } from "../../ui/Empty";
import { EventList } from "../../ui/EventList";
import { Facts } from "../../ui/Facts";
import { Area } from "../../ui/Field";
import { Labels } from "../../ui/Labels";
import { Loading } from "../../ui/Loading";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { ShortTable } from "../../ui/ShortTable";
import type { Column } from "../../ui/tableColumns";
import { toast } from "../../ui/toasts";
import { When } from "../../ui/When";
import { DeleteIngress, RULES_HINT } from "./Ingresses";

type Host = Schemas["IngressHost"];
type Request = Schemas["IngressRequest"];

const REQUESTS_EVERY = 5_000; // milliseconds

/** IngressPage shows one ingress with its certificates, its latest requests and its events. */
export function IngressPage() {
  const { ingressId } = useParams({ from: "/app/ingresses/$ingressId" });
  const navigate = useNavigate();
  const canChange = useHasRole("developer");
  const live = useLive<Ingress>("ingresses");
  const events = useLive<HuskEvent>("events", { objectId: ingressId });
  const [changing, setChanging] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const ingress = live.items.find((i) => i.id === ingressId);
  const keys = useKeys();
  const requests = useQuery({
    queryKey: keys.ingressRequests(ingressId),
    enabled: ingress !== undefined,
    refetchInterval: REQUESTS_EVERY,
    queryFn: async () => {
      const latest = await data(
        client.GET("/v1/ingresses/{ingressId}/requests", { params: { path: { ingressId }, query: { limit: 50 } } }),
      );
      return latest.items.reverse();
    },
  });
  const hosts = useMemo(
    (): Column<Host>[] => [
      { name: "Host", width: "minmax(160px, 1fr)", cell: (h) => h.host },
      { name: "State", width: "112px", cell: (h) => <Badge state={h.state} /> },
      { name: "Ends", width: "120px", cell: (h) => (h.expiresAt ? <When at={h.expiresAt} /> : "") },
      { name: "Message", width: "minmax(0, 2fr)", cell: (h) => h.message ?? "" },
    ],
    [],
  );
  const columns = useMemo(
    (): Column<Request>[] => [
      { name: "Time", width: "92px", cell: (r) => <When at={r.at} /> },
      { name: "Client", width: "130px", wide: true, cell: (r) => r.client },
      { name: "Request", width: "minmax(0, 2fr)", cell: (r) => `${r.method} ${r.host}${r.path}` },
      { name: "Status", width: "80px", cell: (r) => String(r.status), numeric: true },
      { name: "ms", width: "70px", cell: (r) => String(r.milliseconds), numeric: true },
      { name: "Note", width: "minmax(0, 1fr)", wide: true, cell: (r) => r.note ?? "" },
    ],
    [],
  );
  if (!ingress && !live.synced) return live.broken ? <Problem error={live.broken} /> : <Loading what="Loading the ingress" />;
  if (!ingress)
    return (
      <Empty title="Ingress not found" action={<Link to="/ingresses">All ingresses</Link>}>
        <p>It may have been deleted, or it belongs to another tenant.</p>
      </Empty>
    );
  const { status } = ingress;
  return (
    <>
      <PageHead title={ingress.name} lead={<Labels labels={ingress.labels} />}>
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
              ["Rules", ruleLines(ingress.rules).join(", ")],
              ["Addresses", status.addresses.join(", ") || "none: ask the operator"],
              ["HSTS", ingress.hstsSeconds ? `${ingress.hstsSeconds} seconds` : "off"],
              ["Created", <When key="created" at={ingress.createdAt} />],
              ["ID", <Copy key="id" text={ingress.id} label="the ID" />],
            ]}
          />
        </Card>
        <Card title="Events">{events.synced ? <EventList events={[...events.items].reverse()} bare /> : <Loading />}</Card>
      </Cards>
      <Card title="Certificates">
        <ShortTable label="Certificates" rows={status.hosts} columns={hosts} id={(h) => h.host} />
      </Card>
      <Card title="Latest requests">
        {requests.error && <Problem error={requests.error} title="This list is not up to date." />}
        {requests.data?.length === 0 && <p>There were no requests yet.</p>}
        {requests.data && requests.data.length > 0 && (
          <ShortTable label="Latest requests" rows={requests.data} columns={columns} id={(r) => String(r.id)} />
        )}
      </Card>
      {changing && <ChangeIngress ingress={ingress} close={() => setChanging(false)} />}
      {deleting && <DeleteIngress ingress={ingress} close={() => setDeleting(false)} deleted={() => void navigate({ to: "/ingresses" })} />}
    </>
  );
}

function ChangeIngress({ ingress, close }: { ingress: Ingress; close: () => void }) {
  const [rules, setRules] = useState(ruleLines(ingress.rules).join("\n"));
  const run = async () => {
    await client.PATCH("/v1/ingresses/{ingressId}", { params: { path: { ingressId: ingress.id } }, body: { rules: parseRules(rules) } });
    toast(`Ingress ${ingress.name} is changed.`);
  };
  return (
    <FormDialog title={`Change ingress ${ingress.name}`} submit="Save" close={close} run={run}>
      <Area label="Rules" value={rules} onChange={setRules} rows={6} hint={RULES_HINT} />
    </FormDialog>
  );
}
