// SPDX-License-Identifier: Apache-2.0

// Ports of services as text: one on each line, as [NAME=]PORT[:POD-PORT][/PROTOCOL].
import type { Schemas } from "../api/client";

type Port = Schemas["ServicePort"];

const FORM = /^(?:([a-z0-9][-a-z0-9]*)=)?(\d{1,5})(?::(\d{1,5}))?(?:\/(tcp|udp))?$/i;

/** parsePorts reads the lines of a text. It throws an error that names the first line that is not a port. */
export function parsePorts(text: string): Port[] {
  const ports: Port[] = [];
  for (const line of text.split(/[\n,]/).map((l) => l.trim())) {
    if (!line) continue;
    const [, name, port, target, protocol] = FORM.exec(line) ?? [];
    if (!port) throw new Error(`${line} is not a port. Write 80, 80:8080, http=80:8080 or dns=53/udp.`);
    ports.push({
      ...(name && { name }),
      port: Number(port),
      ...(target && { targetPort: Number(target) }),
      ...(protocol && { protocol: protocol.toUpperCase() as Port["protocol"] }),
    });
  }
  return ports;
}

/** portText is the reverse of parsePorts, for one port. */
export function portText(p: Port): string {
  const target = p.targetPort && p.targetPort !== p.port ? `:${p.targetPort}` : "";
  return `${p.name ? `${p.name}=` : ""}${p.port}${target}${p.protocol === "UDP" ? "/udp" : ""}`;
}

/** outsideText says where others reach a pod. */
export const outsideText = (all?: Schemas["OutsideAddress"][]) =>
  all?.map((o) => (o.ports.length ? `${o.address} (${o.ports.map(portText).join(", ")})` : o.address)).join(", ");
