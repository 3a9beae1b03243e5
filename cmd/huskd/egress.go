// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"husk/server/network"
	"husk/service/address"
)

// networkFlags are the server's flags about the networks of pods.
type networkFlags struct {
	ingressRange                                  string
	ingressNodes, ingressAddresses, reservedHosts []string

	northbound                                          []string
	providerNetwork, providerGateway, providerAddresses string
	floatingAddresses                                   string
	providerVLAN                                        int
	allow, deny                                         []string
	podMiB, podConnections, tenantConnections           int
}

func (f *networkFlags) register(fs *pflag.FlagSet) {
	fs.StringSliceVar(&f.northbound, "ovn-northbound", nil, "endpoints of OVN's northbound database, such as ssl:192.0.2.1:6641 or unix:/run/ovn/ovnnb_db.sock; without it, pods have no network")
	fs.StringVar(&f.providerNetwork, "provider-network", "provider", "name that gateway nodes have for the network through which pods reach others")
	fs.StringVar(&f.providerGateway, "provider-gateway", "", "that network's router with the prefix length, such as 203.0.113.1/24; without it, pods reach nothing outside of their networks")
	fs.StringVar(&f.providerAddresses, "provider-addresses", "", "range of that network's addresses that tenants' networks get, such as 203.0.113.10-203.0.113.250")
	fs.StringVar(&f.floatingAddresses, "floating-addresses", "", "range of that network's addresses that tenants can take as floating addresses; it has none of --provider-addresses; without it, nothing outside reaches pods")
	fs.IntVar(&f.providerVLAN, "provider-vlan", 0, "VLAN of that network; 0: untagged")
	fs.StringSliceVar(&f.allow, "allow-pod-egress", nil, "CIDR blocks that pods may reach in addition to the public Internet, such as 10.20.0.0/16")
	fs.StringSliceVar(&f.deny, "deny-pod-egress", nil, "CIDR blocks that pods may never reach; takes precedence over --allow-pod-egress")
	fs.StringVar(&f.ingressRange, "ingress-range", network.DefaultIngressRange.String(), "IPv4 range of the addresses at which ingress processes reach services; nobody else needs a route to it")
	fs.StringSliceVar(&f.ingressNodes, "ingress-nodes", nil, "addresses that the machines with ingress processes have in the provider network; without them, ingresses do not reach their services")
	fs.StringSliceVar(&f.ingressAddresses, "ingress-addresses", nil, "public addresses or names of the ingress processes, to which tenants point the names of their hosts")
	fs.StringSliceVar(&f.reservedHosts, "reserved-hosts", nil, "domains that no ingress can have, nor any name below them, such as the operator's own")
	fs.IntVar(&f.podMiB, "pod-network-mib-per-second", 256, "MiB per second that one pod can send, and receive; 0: any number")
	fs.IntVar(&f.podConnections, "pod-connections", 8192, "connections of one pod that its node keeps track of; 0: any number")
	fs.IntVar(&f.tenantConnections, "tenant-connections", 65_536, "connections of one tenant to the outside that its gateway keeps track of; 0: any number")
}

// config reads the flags.
func (f networkFlags) config() (c network.Config, err error) {
	c.Northbound = f.northbound
	if f.podMiB < 0 || f.podConnections < 0 || f.tenantConnections < 0 {
		return c, fmt.Errorf("--pod-network-mib-per-second, --pod-connections and --tenant-connections must be at least 0; they are %d, %d and %d", f.podMiB, f.podConnections, f.tenantConnections)
	}
	c.Limits = network.Limits{BytesPerSecond: f.podMiB << 20, Connections: f.podConnections, TenantConnections: f.tenantConnections}
	if c.Egress.Allow, err = ipv4Blocks("--allow-pod-egress", f.allow); err != nil {
		return c, err
	}
	if c.Egress.Deny, err = ipv4Blocks("--deny-pod-egress", f.deny); err != nil {
		return c, err
	}
	if f.providerGateway == "" {
		return c, nil
	}
	p := &network.Provider{Name: f.providerNetwork, VLAN: f.providerVLAN}
	if p.Gateway, err = netip.ParsePrefix(f.providerGateway); err != nil || !p.Gateway.Addr().Is4() {
		return c, fmt.Errorf("--provider-gateway: %q is not an IPv4 address with a prefix length, such as 203.0.113.1/24", f.providerGateway)
	}
	if p.VLAN < 0 || p.VLAN > 4094 {
		return c, fmt.Errorf("--provider-vlan is %d; it can be 1 to 4094, or 0 for untagged", p.VLAN)
	}
	given, err := addressRange("--provider-addresses", f.providerAddresses, p.Gateway)
	if err != nil {
		return c, err
	}
	p.First, p.Last, c.Provider = given.First, given.Last, p
	if f.floatingAddresses == "" {
		return c, nil
	}
	if c.Floating, err = addressRange("--floating-addresses", f.floatingAddresses, p.Gateway); err != nil {
		return c, err
	}
	if !c.Floating.Last.Less(p.First) && !p.Last.Less(c.Floating.First) {
		return c, fmt.Errorf("--floating-addresses: %s has addresses of --provider-addresses %s; choose ranges that do not overlap", f.floatingAddresses, f.providerAddresses)
	}
	return c, f.ingress(&c)
}

// ingress reads the flags about ingress processes.
func (f networkFlags) ingress(c *network.Config) (err error) {
	if len(f.ingressNodes) == 0 {
		return nil
	}
	i := &network.Ingress{}
	if i.Range, err = netip.ParsePrefix(f.ingressRange); err != nil {
		return fmt.Errorf("--ingress-range: %w", err)
	}
	within := c.Provider.Gateway.Masked()
	for _, text := range f.ingressNodes {
		a, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil || !within.Contains(a) {
			return fmt.Errorf("--ingress-nodes: %q is not an address of the provider network %s", text, within)
		}
		i.Nodes = append(i.Nodes, a)
	}
	c.Ingress = i
	return nil
}

// addressRange reads a range of the provider network without its router.
func addressRange(flag, text string, gateway netip.Prefix) (r address.Range, err error) {
	first, last, _ := strings.Cut(text, "-")
	var err1, err2 error
	r.First, err1 = netip.ParseAddr(strings.TrimSpace(first))
	r.Last, err2 = netip.ParseAddr(strings.TrimSpace(last))
	within := gateway.Masked()
	if err1 != nil || err2 != nil || !within.Contains(r.First) || !within.Contains(r.Last) || r.Last.Less(r.First) || !gateway.Addr().Less(r.First) && !r.Last.Less(gateway.Addr()) {
		return r, fmt.Errorf("%s: %q is not a range of %s without the router's address, such as 203.0.113.10-203.0.113.250", flag, text, within)
	}
	return r, nil
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

// publicResolvers are the pods' nameservers if the node has none that pods may reach. They belong to Quad9, https://quad9.net.
var publicResolvers = []string{"9.9.9.9", "149.112.112.112"}

// resolvers reads the pods' nameservers. By default, these are the node's own that are public, or else others.
func resolvers(names []string) ([]netip.Addr, error) {
	if len(names) == 0 {
		var err error
		if names, err = publicNameservers(); err != nil {
			return nil, err
		}
	}
	var all []netip.Addr
	for _, name := range names {
		a, err := netip.ParseAddr(strings.TrimSpace(name))
		if err != nil || !a.Is4() || a.IsLoopback() {
			return nil, fmt.Errorf("--pod-resolver: %q is not an IPv4 address that pods can reach", name)
		}
		all = append(all, a)
	}
	return all, nil
}

// publicNameservers returns the node's own nameservers that are on the public Internet, or else publicResolvers.
func publicNameservers() ([]string, error) {
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
		if a, err := netip.ParseAddr(fields[1]); err == nil && network.Public(a) {
			names = append(names, fields[1])
		}
	}
	if len(names) == 0 {
		return publicResolvers, nil
	}
	return names, nil
}
