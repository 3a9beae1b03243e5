// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { client, data, type HuskEvent, type Pod } from "../api/client";
import { useLive } from "../api/live";
import { useKeys } from "../api/queries";
import { useHasRole } from "../api/role";
import { useSession } from "../api/session";
import { coresOf, count, gibibytes, hours, mebibytes, money } from "../lib/format";
import { needsAttention, phaseOf, podState } from "../lib/podState";
import { Badge } from "../ui/Badge";
import { buttonLook } from "../ui/Button";
import { Card } from "../ui/Card";
import { Cards } from "../ui/Cards";
import { Empty } from "../ui/Empty";
import { EventList } from "../ui/EventList";
import { Facts } from "../ui/Facts";
import { Loading } from "../ui/Loading";
import { Meter } from "../ui/Meter";
import { Meters } from "../ui/Meters";
import { PageHead } from "../ui/PageHead";
import { Problem } from "../ui/Problem";
import { Rows } from "../ui/Rows";
import styles from "./Overview.module.css";

const PHASES = ["Running", "Starting", "Pending", "Stopping", "Stopped", "Succeeded", "Failed", "Unknown"] as const;

/** Overview shows the tenant's pods, quota, cost, problems and recent events. */
export function Overview() {
  const session = useSession();
  const keys = useKeys();
  const canCreate = useHasRole("developer");
  const pods = useLive<Pod>("pods");
  const events = useLive<HuskEvent>("events");
  const quota = useQuery({ queryKey: keys.quota, queryFn: () => data(client.GET("/v1/quota")), refetchInterval: 15_000 });
  const troubled = pods.items.filter(needsAttention);
  return (
    <>
      <PageHead title={session.tenantName} lead="Pods, quota, cost and recent events.">
        {canCreate && (
          <Link to="/pods/new" className={buttonLook("primary")}>
            Create pod
          </Link>
        )}
      </PageHead>
      {pods.broken && <Problem error={pods.broken} title="This page is not up to date." />}
      {pods.synced && pods.items.length === 0 && (
        <Empty title="No pods yet">
          <ol className={styles.steps}>
            <li>
              <Link to="/images">Import an image</Link> from its registry. It is downloaded only once.
            </li>
            <li>
              <Link to="/volumes">Create a volume</Link> for data that must outlive a pod.
            </li>
            <li>
              {canCreate ? <Link to="/pods/new">Create a pod</Link> : "Ask a developer to create a pod"}. It boots as a separate virtual
              machine.
            </li>
          </ol>
        </Empty>
      )}
      <Cards>
        <Card title="Pods">
          {pods.synced ? (
            <ul className={styles.phases}>
              {PHASES.map((phase) => [phase, pods.items.filter((p) => phaseOf(p) === phase).length] as const)
                .filter(([phase, n]) => n > 0 || phase === "Running")
                .map(([phase, n]) => (
                  <li key={phase}>
                    <Link to="/pods" search={{ phase }}>
                      <strong className="number">{count(n)}</strong> <Badge state={phase} />
                    </Link>
                  </li>
                ))}
            </ul>
          ) : (
            <Loading />
          )}
        </Card>
        <Card title="Quota">
          <Problem error={quota.error} retry={() => void quota.refetch()} />
          {quota.data && (
            <Meters>
              <Meter
                label="Processors"
                used={quota.data.used.cpuMillis}
                limit={quota.data.limits.cpuMillis}
                show={(n) => `${coresOf(n)}`}
              />
              <Meter label="Memory" used={quota.data.used.memoryMiB} limit={quota.data.limits.memoryMiB} show={mebibytes} />
              <Meter
                label="Scratch disks"
                used={quota.data.used.scratchGiB ?? 0}
                limit={quota.data.limits.scratchGiB ?? 0}
                show={gibibytes}
              />
              <Meter label="Volumes" used={quota.data.used.volumeGiB} limit={quota.data.limits.volumeGiB} show={gibibytes} />
              {Object.entries(quota.data.limits.volumeClassGiB ?? {}).map(([k, limit]) => (
                <Meter
                  key={k}
                  label={`Volumes of class ${k}`}
                  used={quota.data.used.volumeClassGiB?.[k] ?? 0}
                  limit={limit}
                  show={gibibytes}
                />
              ))}
              <Meter label="Pods" used={quota.data.used.pods} limit={quota.data.limits.pods} show={count} />
              <Meter label="Images" used={quota.data.used.images} limit={quota.data.limits.images} show={count} />
              <Meter label="Floating addresses" used={quota.data.used.addresses} limit={quota.data.limits.addresses} show={count} />
            </Meters>
          )}
        </Card>
        <Spend />
      </Cards>
      {troubled.length > 0 && (
        <Card title="Needs attention">
          <Rows>
            {troubled.slice(0, 8).map((p) => (
              <li key={p.id}>
                <Badge state={podState(p)} phase={p.status.phase} />
                <Link to="/pods/$podId" params={{ podId: p.id }} search={p.status.phase === "Pending" ? { tab: "placement" } : {}}>
                  {p.name}
                </Link>
                <span className="muted">{p.status.message ?? p.status.reason}</span>
              </li>
            ))}
          </Rows>
        </Card>
      )}
      <Card title="Recent events" actions={<Link to="/events">All events</Link>}>
        {events.synced ? <EventList events={events.items.slice(-8).reverse()} pods={pods.items} /> : <Loading />}
      </Card>
    </>
  );
}

/** Spend shows this month's usage, and its cost if the operator has a price list. */
function Spend() {
  const keys = useKeys();
  const usage = useQuery({
    queryKey: keys.usage("month"),
    queryFn: () => data(client.GET("/v1/usage")),
    refetchInterval: 60_000,
  });
  const total = usage.data?.items[0];
  const currency = usage.data?.currency;
  return (
    <Card title="This month" actions={<Link to="/usage">Usage</Link>}>
      <Problem error={usage.error} retry={() => void usage.refetch()} />
      {usage.data && (
        <>
          {currency && total?.cost !== undefined && <p className="big number">{money(total.cost, currency)}</p>}
          <Facts
            of={[
              ["Core-hours", <Hours key="cores" seconds={total?.cpuCoreSeconds} />],
              ["Memory, GiB-hours", <Hours key="memory" seconds={total?.memoryGiBSeconds} />],
              ["Volumes, GiB-hours", <Hours key="volumes" seconds={total?.volumeGiBSeconds} />],
            ]}
          />
        </>
      )}
    </Card>
  );
}

const Hours = ({ seconds = 0 }: { seconds?: number }) => <span className="number">{hours(seconds)}</span>;
