// SPDX-License-Identifier: Apache-2.0

import type { Schemas } from "../../api/client";
import { join, split } from "../../lib/podDocument";
import { Check } from "../../ui/Check";
import { Columns } from "../../ui/Columns";
import { Input, NAME } from "../../ui/Field";
import { Pairs } from "../../ui/Pairs";
import { Panel } from "../../ui/Panel";
import { useWords } from "./useWords";

type Spec = Schemas["PodSpec"];

interface Props {
  spec: Spec;
  change: (to: Partial<Spec>) => void;
  error: (field: string) => string | undefined;
}

/** NamesForm edits the names that the pod knows, and the parameters of its kernel. Options of the resolver can only be set in the document. */
export function NamesForm({ spec, change, error }: Props) {
  const dns = spec.dnsConfig ?? {};
  const setDNS = (to: typeof dns) => change({ dnsConfig: { ...dns, ...to } });
  const [servers, setServers] = useWords(dns.nameservers, join, split, (nameservers) => setDNS({ nameservers }));
  const [searches, setSearches] = useWords(dns.searches, join, split, (words) => setDNS({ searches: words }));
  const aliases = Object.fromEntries((spec.hostAliases ?? []).map((a) => [a.ip, a.hostnames.join(" ")]));
  const sysctls = Object.fromEntries((spec.sysctls ?? []).map((s) => [s.name, s.value]));
  return (
    <Panel as="details">
      <summary>
        <h2>Names and kernel parameters</h2>
      </summary>
      <Columns>
        <Input
          label="Host name"
          value={spec.hostname ?? ""}
          onChange={(hostname) => change({ hostname: hostname || undefined })}
          error={error("spec.hostname")}
          placeholder="the name of the pod"
          pattern={NAME}
          maxLength={63}
        />
        <Input
          label="Name servers"
          value={servers}
          onChange={setServers}
          error={error("spec.dnsConfig.nameservers")}
          placeholder="192.0.2.53"
          hint="After those of the node."
        />
        <Input
          label="Search domains"
          value={searches}
          onChange={setSearches}
          error={error("spec.dnsConfig.searches")}
          placeholder="example.com"
        />
      </Columns>
      <Check
        label="Use only these name servers"
        checked={spec.dnsPolicy === "None"}
        onChange={(only) => change({ dnsPolicy: only ? "None" : undefined })}
      />
      <Pairs
        label="Addresses with names in /etc/hosts"
        value={aliases}
        change={(v) => change({ hostAliases: Object.entries(v).map(([ip, names]) => ({ ip, hostnames: split(names) })) })}
      />
      <Pairs
        label="Kernel parameters, such as net.core.somaxconn"
        value={sysctls}
        change={(v) => change({ sysctls: Object.entries(v).map(([name, value]) => ({ name, value })) })}
      />
    </Panel>
  );
}
