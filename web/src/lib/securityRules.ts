// SPDX-License-Identifier: Apache-2.0

// Rules of security groups as text: one on each line, as in|out PROTOCOL[/PORTS][=PEERS]. The command line has the same form.
import type { Schemas } from "../api/client";

type Rule = Schemas["SecurityRule"];

const FORM = /^(in|out)\s+(tcp|udp|icmp|any)(?:\/([\d,-]+))?(?:=(\S+))?$/i;

/** parseRules reads the lines of a text. It throws an error that names the first line that is not a rule. */
export function parseRules(text: string): Rule[] {
  const rules: Rule[] = [];
  for (const line of text.split("\n").map((l) => l.trim())) {
    if (!line) continue;
    const [, direction, protocol, ports, peers] = FORM.exec(line) ?? [];
    if (!direction || !protocol) throw new Error(`${line} is not a rule. Write in tcp/80,443, in tcp/5432=web or out any=10.0.0.0/8.`);
    rules.push({
      direction: direction.toLowerCase() === "in" ? "ingress" : "egress",
      protocol: protocol.toLowerCase() === "any" ? "any" : (protocol.toUpperCase() as Rule["protocol"]),
      ...(ports && { ports: ports.split(",").map((p) => port(p, line)) }),
      ...(peers && { peers: peers.split(",").map((p) => (p.includes("/") ? { cidr: p } : { group: p })) }),
    });
  }
  return rules;
}

function port(text: string, line: string) {
  const [, first, last] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  if (!first) throw new Error(`${text} is not a port or a range of ports, in ${line}.`);
  return { port: Number(first), ...(last && { endPort: Number(last) }) };
}

/** ruleText is the reverse of parseRules, for one rule. Exceptions of blocks have no text. */
export function ruleText(r: Rule): string {
  const ports = (r.ports ?? []).map((p) => (p.endPort ? `${p.port}-${p.endPort}` : `${p.port}`)).join(",");
  const peers = (r.peers ?? []).map((p) => p.group ?? p.cidr).join(",");
  return `${r.direction === "ingress" ? "in" : "out"} ${(r.protocol ?? "any").toLowerCase()}${ports && `/${ports}`}${peers && `=${peers}`}`;
}

/** hasExceptions reports whether rules have blocks with exceptions, which text cannot express. */
export const hasExceptions = (rules: Rule[]) => rules.some((r) => r.peers?.some((p) => p.except?.length));
