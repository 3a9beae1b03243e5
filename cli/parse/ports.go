// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"strconv"
	"strings"

	"husk/cli/exit"
	"husk/openapi"
)

// Port reads [LOCAL:]REMOTE. LOCAL may be 0, which is any free port.
func Port(text string) (local, remote int, _ error) {
	l, r, both := strings.Cut(text, ":")
	if !both {
		r = l
	}
	from, err1 := strconv.ParseUint(l, 10, 16)
	to, err2 := strconv.ParseUint(r, 10, 16)
	if err1 != nil || err2 != nil || to == 0 {
		return 0, 0, exit.Usagef("%q is not [LOCAL:]REMOTE, such as 8080:80", text)
	}
	return int(from), int(to), nil
}

// ServicePort reads [NAME=]PORT[:POD-PORT][/PROTOCOL], such as http=80:8080 or 53/udp.
func ServicePort(text string) (openapi.ServicePort, error) {
	var port openapi.ServicePort
	rest := text
	if name, numbers, named := strings.Cut(text, "="); named {
		port.Name, rest = &name, numbers
	}
	rest, protocol, given := strings.Cut(rest, "/")
	if given {
		p := openapi.ServicePortProtocol(strings.ToUpper(protocol))
		if p != openapi.ServicePortProtocolTCP && p != openapi.ServicePortProtocolUDP {
			return port, exit.Usagef("--port: %q is not tcp or udp in %q", protocol, text)
		}
		port.Protocol = &p
	}
	at, to, err := Port(rest)
	if err != nil || at == 0 {
		return port, exit.Usagef("--port: %q is not [NAME=]PORT[:POD-PORT][/udp], such as http=80:8080", text)
	}
	if port.Port = at; to != at {
		port.TargetPort = &to
	}
	return port, nil
}

// Published reads the ports of a pod that others outside reach: PORT:POD-PORT[/PROTOCOL], as docker does. If same is true, POD-PORT may be left out if
// it is the same.
func Published(flag, text string, same bool) (openapi.AddressPort, error) {
	var port openapi.AddressPort
	rest, protocol, given := strings.Cut(text, "/")
	if given {
		p := openapi.AddressPortProtocol(strings.ToUpper(protocol))
		if p != openapi.AddressPortProtocolTCP && p != openapi.AddressPortProtocolUDP {
			return port, exit.Usagef("%s: %q is not tcp or udp in %q", flag, protocol, text)
		}
		port.Protocol = &p
	}
	switch parts := strings.Split(rest, ":"); {
	case len(parts) == 1 && !same:
		return port, exit.Usagef("%s: Husk chooses no ports; give both, such as %s:%s", flag, rest, rest)
	case len(parts) == 3:
		return port, exit.Usagef("%s: Husk chooses the address; leave it out, as in %s:%s", flag, parts[1], parts[2])
	}
	at, to, err := Port(rest)
	if err != nil || at == 0 {
		return port, exit.Usagef("%s: %q is not PORT:POD-PORT[/udp], such as 8080:80", flag, text)
	}
	port.Port, port.TargetPort = at, &to
	return port, nil
}

// SecurityRule reads PROTOCOL[/PORTS][=PEERS], such as tcp/80,8000-8010=web,198.51.100.0/24.
func SecurityRule(flag, text string, direction openapi.SecurityRuleDirection) (openapi.SecurityRule, error) {
	r := openapi.SecurityRule{Direction: direction}
	left, peers, limited := strings.Cut(text, "=")
	name, ports, numbered := strings.Cut(left, "/")
	protocol, known := map[string]openapi.SecurityRuleProtocol{
		"tcp": openapi.SecurityRuleProtocolTCP, "udp": openapi.SecurityRuleProtocolUDP, "icmp": openapi.SecurityRuleProtocolICMP, "any": openapi.SecurityRuleProtocolAny,
	}[strings.ToLower(name)]
	if !known {
		return r, exit.Usagef("%s: %q is not tcp, udp, icmp or any in %q", flag, name, text)
	}
	r.Protocol = &protocol
	if numbered {
		all := []openapi.SecurityRulePort{}
		for part := range strings.SplitSeq(ports, ",") {
			first, last, isRange := strings.Cut(part, "-")
			from, err1 := strconv.ParseUint(first, 10, 16)
			p := openapi.SecurityRulePort{Port: int(from)}
			if isRange {
				to, err2 := strconv.ParseUint(last, 10, 16)
				if err2 != nil || to < from {
					err1 = strconv.ErrRange
				}
				end := int(to)
				p.EndPort = &end
			}
			if err1 != nil || from == 0 {
				return r, exit.Usagef("%s: %q is not a port or a range of ports in %q", flag, part, text)
			}
			all = append(all, p)
		}
		r.Ports = &all
	}
	if limited {
		all := []openapi.SecurityRulePeer{}
		for part := range strings.SplitSeq(peers, ",") {
			switch {
			case part == "":
				return r, exit.Usagef("%s: a peer is missing in %q; write the name of a group or a block of addresses", flag, text)
			case strings.Contains(part, "/"):
				all = append(all, openapi.SecurityRulePeer{Cidr: &part})
			default:
				all = append(all, openapi.SecurityRulePeer{Group: &part})
			}
		}
		r.Peers = &all
	}
	return r, nil
}
