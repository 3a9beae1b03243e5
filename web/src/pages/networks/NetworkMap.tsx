// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMemo, useRef, useState } from "react";
import { type Address, client, data, type Network, type Pod, type SecurityGroup, type Service } from "../../api/client";
import { useLive } from "../../api/live";
import { useKeys } from "../../api/queries";
import { bytes, plural } from "../../lib/format";
import { type Box, counters, draw, type Edge, mayConnect, type PodBox, rates, reaches, type Traffic } from "../../lib/networkMap";
import { phaseOf } from "../../lib/podState";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { Hint } from "../../ui/Hint";
import styles from "./NetworkMap.module.css";

const EVERY = 5000; // milliseconds between two readings of the traffic

/** NetworkMap draws networks, pods and services, where connections go, and how much traffic each pod has. */
export function NetworkMap({ networks, pods }: { networks: Network[]; pods: Pod[] }) {
  const services = useLive<Service>("services").items;
  const addresses = useLive<Address>("addresses").items;
  const groups = useLive<SecurityGroup>("security-groups").items;
  const traffic = useTraffic();
  const [chosen, setChosen] = useState<string>();
  const picture = useMemo(() => draw(networks, pods, services, addresses), [networks, pods, services, addresses]);
  const pod = pods.find((p) => p.id === chosen);
  const reached = new Map<string, string>(); // what the chosen pod can connect to, and at which ports
  for (const p of pods) {
    const ports = pod && pod.id !== p.id && reaches(pod, p, networks) ? mayConnect(pod, p, groups) : undefined;
    if (ports) reached.set(p.id, ports);
  }
  const faded = (id: string) => pod !== undefined && pod.id !== id && !reached.has(id);
  /** below is what stands below the name of a pod. */
  const below = (p: PodBox) => `${p.address} ${reached.get(p.pod.id) ?? flow(traffic.get(p.pod.name))}`.trim();
  return (
    <Card title="Map">
      <Hint aria-live="polite">
        {pod ? (
          <>
            <Link to="/pods/$podId" params={{ podId: pod.id }}>
              {pod.name}
            </Link>{" "}
            can connect to {plural(reached.size, "other pod")}.{" "}
            <Button small look="quiet" onClick={() => setChosen(undefined)}>
              Show all
            </Button>
          </>
        ) : (
          "Choose a pod to see which others it can connect to. Lines show where services and floating addresses lead. The numbers are what each pod receives and sends now."
        )}
      </Hint>
      <div className={styles.map}>
        <svg
          viewBox={`0 0 ${picture.width} ${picture.height}`}
          width={picture.width}
          height={picture.height}
          role="group"
          aria-label="Map of the networks"
        >
          {picture.edges.map((e) => (
            <path key={e.id} d={curve(e)} className={e.ready ? styles.edge : `${styles.edge} ${styles.off}`} />
          ))}
          {picture.outside && (
            <g>
              <rect {...size(picture.outside)} rx="8" className={styles.outside} />
              <text x={picture.outside.x + 12} y={picture.outside.y + 28}>
                Outside
              </text>
            </g>
          )}
          {picture.services.map((s) => (
            <Link
              key={s.id}
              to="/services/$serviceId"
              params={{ serviceId: s.service.id }}
              aria-label={`${short(s.service.name)} ${reach(s.service)}`}
            >
              <rect {...size(s)} rx="8" className={styles.service} />
              <text x={s.x + 12} y={s.y + 20}>
                <tspan className={styles.strong}>{short(s.service.name)}</tspan>{" "}
                <tspan x={s.x + 12} dy="17" className={styles.small}>
                  {reach(s.service)}
                </tspan>
              </text>
            </Link>
          ))}
          {picture.networks.map((n) => (
            <g key={n.id}>
              <rect {...size(n)} rx="10" className={n.network.isolated ? `${styles.network} ${styles.isolated}` : styles.network} />
              <text x={n.x + 14} y={n.y + 20} className={styles.strong}>
                {n.network.name}
                <tspan className={styles.small} dx="8">
                  {n.network.cidr}
                  {n.network.isolated && " · isolated"}
                </tspan>
              </text>
              {n.pods.length === 0 && (
                <text x={n.x + 16} y={n.y + 56} className={styles.small}>
                  no pods
                </text>
              )}
            </g>
          ))}
          {picture.networks.flatMap((n) =>
            n.pods.map((p) => (
              <g
                key={p.id}
                role="button"
                tabIndex={0}
                aria-pressed={p.pod.id === chosen}
                aria-label={`${short(p.pod.name)} ${below(p)}`}
                className={`${styles.pod} ${phaseOf(p.pod) === "Running" ? "" : styles.off} ${faded(p.pod.id) ? styles.faded : ""} ${p.pod.id === chosen ? styles.chosen : ""}`}
                onClick={() => setChosen(p.pod.id === chosen ? undefined : p.pod.id)}
                onKeyDown={(e) => {
                  if (e.key === "Enter" || e.key === " ") {
                    e.preventDefault();
                    setChosen(p.pod.id === chosen ? undefined : p.pod.id);
                  }
                }}
              >
                <rect {...size(p)} rx="6" />
                <text x={p.x + 10} y={p.y + 19}>
                  <tspan className={styles.strong}>{short(p.pod.name)}</tspan>{" "}
                  <tspan x={p.x + 10} dy="17" className={styles.small}>
                    {below(p)}
                  </tspan>
                </text>
              </g>
            )),
          )}
        </svg>
      </div>
      {picture.hidden > 0 && <Hint>{plural(picture.hidden, "more pod")} are not drawn. The table below has all.</Hint>}
    </Card>
  );
}

const size = ({ x, y, width, height }: Box) => ({ x, y, width, height });

const short = (name: string) => (name.length > 20 ? `${name.slice(0, 19)}…` : name);

/** reach is where a service is reached, and by how many pods. */
const reach = ({ status }: Service) => `${status.address ?? "headless"} · ${status.readyEndpoints} ready`;

/** flow writes traffic as ↓1.2 KiB/s ↑300 B/s, if there is any. */
const flow = (t?: Traffic) => (t && t.received + t.sent >= 1 ? `↓${bytes(t.received)}/s ↑${bytes(t.sent)}/s` : "");

/** curve is the line from the right side of one box to the left side of another. */
function curve({ from, to }: Edge) {
  const [x1, y1, x2, y2] = [from.x + from.width, from.y + from.height / 2, to.x, to.y + to.height / 2];
  const bend = Math.max(24, (x2 - x1) / 2);
  return `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}

/** useTraffic returns what each pod receives and sends now, by the name of the pod. */
function useTraffic(): Map<string, Traffic> {
  const keys = useKeys();
  const last = useRef<{ at: number; counters: Map<string, Traffic> }>(undefined);
  const q = useQuery({
    queryKey: keys.traffic,
    queryFn: async () => {
      const now = { at: Date.now(), counters: counters(await data(client.GET("/v1/metrics", { parseAs: "text" }))) };
      const before = last.current;
      last.current = now;
      return before ? rates(before.counters, now.counters, (now.at - before.at) / 1000) : new Map<string, Traffic>();
    },
    refetchInterval: EVERY,
    gcTime: 0,
    structuralSharing: false,
  });
  return q.data ?? none;
}

const none = new Map<string, Traffic>();
