// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"husk/nodeagent/network"
)

// publicResolvers are the pods' nameservers if the node has none that pods may reach. They belong to Quad9, https://quad9.net.
var publicResolvers = []string{"9.9.9.9", "149.112.112.112"}

// egressOf reads what pods may reach outside of their networks.
func egressOf(f agentFlags) (network.Egress, error) {
	var e network.Egress
	var err error
	if e.Allow, err = ipv4Blocks("--allow-pod-egress", f.allowPodEgress); err != nil {
		return e, err
	}
	if e.Deny, err = ipv4Blocks("--deny-pod-egress", f.denyPodEgress); err != nil {
		return e, err
	}
	names := f.podResolvers
	if len(names) == 0 {
		if names, err = reachableResolvers(e); err != nil {
			return e, err
		}
	}
	for _, name := range names {
		a, err := netip.ParseAddr(strings.TrimSpace(name))
		if err != nil || !a.Is4() || a.IsLoopback() {
			return e, fmt.Errorf("--pod-resolver: %q is not an IPv4 address that pods can reach", name)
		}
		e.Resolvers = append(e.Resolvers, a)
	}
	return e, nil
}

func ipv4Blocks(flag string, texts []string) ([]netip.Prefix, error) {
	var blocks []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil || !p.Addr().Is4() {
			return nil, fmt.Errorf("%s: %q is not an IPv4 block such as 10.20.0.0/16", flag, text)
		}
		blocks = append(blocks, p.Masked())
	}
	return blocks, nil
}

// reachableResolvers returns the node's own nameservers that pods may reach, or else public ones.
func reachableResolvers(e network.Egress) ([]string, error) {
	raw, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("read the node's nameservers: %w", err)
	}
	var names []string
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(fields[1])
		if err != nil {
			continue // not an address
		}
		allowed, err := e.Allows(a)
		if err != nil {
			return nil, err
		}
		if allowed {
			names = append(names, fields[1])
		}
	}
	if len(names) == 0 {
		return publicResolvers, nil
	}
	return names, nil
}
