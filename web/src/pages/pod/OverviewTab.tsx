// SPDX-License-Identifier: Apache-2.0

import { Link } from "@tanstack/react-router";
import type { Pod, Volume } from "../../api/client";
import { useLive } from "../../api/live";
import { allContainers, optionsOf } from "../../lib/containers";
import { coresOf, dateTime, duration, mebibytes } from "../../lib/format";
import { outsideText } from "../../lib/servicePorts";
import { Badge } from "../../ui/Badge";
import { Card } from "../../ui/Card";
import { Cards } from "../../ui/Cards";
import { Copy } from "../../ui/Copy";
import { Facts } from "../../ui/Facts";
import { Rows } from "../../ui/Rows";
import { ScrollX } from "../../ui/ScrollX";
import { When } from "../../ui/When";
import styles from "./OverviewTab.module.css";

/** OverviewTab shows the pod's size and address, its startup, its containers and its volumes. */
export function OverviewTab({ pod }: { pod: Pod }) {
  const { spec, status } = pod;
  const volumes = useLive<Volume>("volumes").items;
  const networks = status.interfaces?.map((i) => `${i.network} ${[i.address, i.ipv6Address].filter(Boolean).join(" ")}`);
  return (
    <Cards two>
      <Card title="Virtual machine">
        <Facts
          of={[
            ["Size", `${coresOf(spec.resources.cpuMillis)}, ${mebibytes(spec.resources.memoryMiB)}`],
            ["At the moment", status.resources && `${coresOf(status.resources.cpuMillis)}, ${mebibytes(status.resources.memoryMiB)}`],
            ["Overhead", status.vmmOverheadMiB > 0 && `${mebibytes(status.vmmOverheadMiB)} for its kernel and the hypervisor`],
            ["Address", status.address && <Copy text={status.address} label="the address" />],
            ["Networks", networks?.join(", ")],
            ["Security groups", spec.securityGroups?.join(", ")],
            ["Outside address", outsideText(status.outside)],
            ["Node", status.nodeName],
            ["Ephemeral storage", spec.ephemeralStorage === "memory" ? "in memory" : `${spec.ephemeralStorageGiB ?? 10} GiB`],
            ["Host name", spec.hostname],
            ["Host aliases", spec.hostAliases?.map((a) => `${a.ip} ${a.hostnames.join(" ")}`).join(", ")],
            ["Name servers", spec.dnsConfig?.nameservers?.join(", ")],
            ["Search domains", spec.dnsConfig?.searches?.join(", ")],
            ["Kernel parameters", spec.sysctls?.map((s) => `${s.name}=${s.value}`).join(", ")],
            ["Shared memory", spec.shmSizeMiB !== undefined && `up to ${mebibytes(spec.shmSizeMiB)}`],
            ["Restart policy", spec.restartPolicy],
            ["Restarts", status.restarts ?? 0],
            ["Ready", status.phase === "Running" && (status.ready ? "yes" : "no")],
            ["Deadline", spec.activeDeadlineSeconds !== undefined && `${duration(spec.activeDeadlineSeconds)} after the start`],
            ["Deleted", spec.ttlSecondsAfterFinished !== undefined && `${duration(spec.ttlSecondsAfterFinished)} after the end`],
            ["Grace period", spec.terminationGracePeriodSeconds !== undefined && `${spec.terminationGracePeriodSeconds} s`],
            ["Priority", spec.scheduling?.priority || undefined],
            ["Created", <When key="created" at={pod.createdAt} />],
            ["ID", <Copy key="id" text={pod.id} label="the ID" />],
          ]}
        />
      </Card>
      <Card title="Startup">
        <Startup pod={pod} />
      </Card>
      <Card title="Containers" span>
        <ScrollX label="Table">
          <table>
            <thead>
              <tr>
                <th>Name</th>
                <th>State</th>
                <th>Ready</th>
                <th>Image</th>
                <th className="numeric">Restarts</th>
                <th>Since</th>
              </tr>
            </thead>
            <tbody>
              {allContainers(spec).map((c) => {
                const s = status.containers.find((s) => s.name === c.name);
                return (
                  <tr key={c.name}>
                    <td>
                      <Link to="/pods/$podId" params={{ podId: pod.id }} search={{ tab: "logs", container: c.name }}>
                        {c.name}
                      </Link>
                      {c.kind && <span className="muted"> {c.kind}</span>}
                    </td>
                    <td>
                      <Badge state={s?.state ?? "Waiting"} title={s?.message} />
                      {(s?.state === "Exited" || s?.nextStartAt) && <span className="muted"> code {s.exitCode}</span>}
                      {s?.reason && <span className="muted"> {s.reason}</span>}
                      {s?.lastReason === "OOMKilled" && <span className="muted">, out of memory</span>}
                      {s?.nextStartAt && <span className="muted">, next start {dateTime(s.nextStartAt)}</span>}
                      {s?.message && <div className="muted break lines">{s.message}</div>}
                    </td>
                    <td>{s?.state === "Running" ? (s.ready === false ? "no" : "yes") : "–"}</td>
                    <td className="mono break">{c.image}</td>
                    <td className="numeric">{s?.restarts ?? 0}</td>
                    <td>{(s?.finishedAt ?? s?.startedAt) ? <When at={s?.finishedAt ?? s?.startedAt} /> : "–"}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </ScrollX>
      </Card>
      {allContainers(spec).map((c) => {
        const options = optionsOf(c);
        return (
          options.length > 0 && (
            <Card key={c.name} title={`Options of ${c.name}`}>
              <Facts of={options} />
            </Card>
          )
        );
      })}
      {(spec.volumes?.length ?? 0) > 0 && (
        <Card title="Volumes" span>
          <Rows>
            {spec.volumes?.map((v) => {
              const volume = volumes.find((o) => o.id === v.volumeId);
              return (
                <li key={v.name}>
                  {v.volumeId ? (
                    <Link to="/volumes/$volumeId" params={{ volumeId: v.volumeId }}>
                      {volume?.name ?? v.name}
                    </Link>
                  ) : v.emptyDir ? (
                    <span>
                      {v.name}, an empty directory{v.emptyDir.memory ? " in memory" : ""}
                      {v.emptyDir.sizeMiB ? `, up to ${v.emptyDir.sizeMiB} MiB` : ""}
                    </span>
                  ) : v.projected ? (
                    <span>
                      {v.name}, files from {v.projected.length} {v.projected.length === 1 ? "source" : "sources"}
                    </span>
                  ) : (
                    <Link to="/configs">{v.config ? `config ${v.config.name}` : `secret ${v.secret?.name}`}</Link>
                  )}
                  {volume && <span>{volume.sizeGiB} GiB</span>}
                  <span className="muted">
                    {allContainers(spec)
                      .flatMap((c) =>
                        (c.volumeMounts ?? [])
                          .filter((m) => m.volume === v.name)
                          .map((m) => `${c.name}: ${m.mountPath}${m.readOnly ? " (read-only)" : ""}`),
                      )
                      .join(", ")}
                  </span>
                </li>
              );
            })}
          </Rows>
        </Card>
      )}
    </Cards>
  );
}

const STEPS = [
  ["acceptedAt", "Accepted"],
  ["placedAt", "Scheduled to a node"],
  ["domainStartingAt", "Virtual machine being prepared"],
  ["networkConnectedAt", "Network connected"],
  ["domainStartedAt", "Virtual machine started"],
  ["guestReadyAt", "Kernel and init ready"],
  ["runningAt", "Containers running"],
] as const;

/** Startup shows the steps of the pod's latest start and how long each took. */
function Startup({ pod }: { pod: Pod }) {
  const t = pod.status.timeline;
  const times = STEPS.map(([key]) => (t[key] ? Date.parse(t[key]) : undefined));
  const known = times.filter((x): x is number => x !== undefined);
  const whole = Math.max(1, Math.max(...known) - Math.min(...known));
  return (
    <ol className={styles.startup}>
      {STEPS.map(([key, title], i) => {
        const at = times[i];
        const before = times.slice(0, i).findLast((x) => x !== undefined);
        const took = at !== undefined && before !== undefined ? Math.max(0, at - before) : undefined;
        return (
          <li key={key} className={at === undefined ? styles.todo : ""}>
            <span>{title}</span>
            <span className="number muted" title={t[key] && dateTime(t[key])}>
              {took !== undefined ? `+ ${duration(took / 1000)}` : at !== undefined ? dateTime(new Date(at).toISOString()) : "–"}
            </span>
            <span className={styles.bar} aria-hidden="true">
              <span style={{ width: `${((took ?? 0) / whole) * 100}%` }} />
            </span>
          </li>
        );
      })}
      {pod.deletionRequestedAt && (
        <li>
          <span>Deletion requested</span>
          <span className="muted">
            <When at={pod.deletionRequestedAt} />
          </span>
        </li>
      )}
    </ol>
  );
}
