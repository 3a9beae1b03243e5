// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// Provider is a network outside of all tenants' networks, in place of the one that a provider of Internet access has: a bridge on this machine,
// with a port for each node. This machine is its gateway to other networks, with its own address there, and keeps pods from its own services
// and from networks that are not public. It can connect to all addresses of the range itself.
type Provider struct {
	bridge string
	prefix netip.Prefix
}

// ProviderInterface is the name of a node's interface in the provider network, in a host.
const ProviderInterface = "prov0"

// NewProvider makes the bridge.
func NewProvider(owner Owner, prefix netip.Prefix) (*Provider, error) {
	p := &Provider{bridge: providerPrefix + owner.ID, prefix: prefix.Masked()}
	if err := RemoveProvider(owner.ID); err != nil {
		return nil, err
	}
	if err := Unused(prefix, "provider-range"); err != nil {
		return nil, err
	}
	if err := p.create(owner); err != nil {
		return nil, errors.Join(fmt.Errorf("bridge %s: %w", p.bridge, err), p.Close())
	}
	return p, nil
}

// Gateway returns this machine's address in the provider network.
func (p *Provider) Gateway() netip.Addr { return p.prefix.Addr().Next() }

// Route makes a range known to be on the link of the provider network. The route ends with the bridge.
func (p *Provider) Route(to netip.Prefix) error {
	link, err := netlink.LinkByName(p.bridge)
	if err == nil {
		err = netlink.RouteAdd(&netlink.Route{
			LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Src: p.Gateway().AsSlice(),
			Dst: &net.IPNet{IP: to.Masked().Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), to.Addr().BitLen())},
		})
	}
	if err != nil {
		return fmt.Errorf("add a route to %s on %s: %w", to, p.bridge, err)
	}
	return nil
}

func (p *Provider) create(owner Owner) error {
	if err := createBridge(p.bridge, owner, p.prefix, p.Gateway()); err != nil {
		return err
	}
	// The agents need it, too, so it stays on.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil { //nolint:gosec // a sysctl
		return fmt.Errorf("enable IPv4 forwarding: %w", err)
	}
	own, err := machineNetworks()
	if err != nil {
		return err
	}
	return nft(p.rules(own))
}

// notPublic are the ranges that are no part of the public Internet (IANA's registry of special-purpose addresses).
var notPublic = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
}

func (p *Provider) rules(own []netip.Prefix) string {
	closed := slices.Clone(notPublic)
	for _, n := range own {
		closed = append(closed, n.String())
	}
	// Bridged packets also pass the hooks of IP on machines with br_netfilter, hence the first rule.
	return fmt.Sprintf(`table inet %[1]s
delete table inet %[1]s
table inet %[1]s {
	set closed { type ipv4_addr; flags interval; auto-merge; elements = { %[4]s }; }
	chain forward { type filter hook forward priority filter; policy accept;
		iifname "%[2]s" oifname "%[2]s" accept;
		iifname "%[2]s" oifname "hk*" drop;
		iifname "%[2]s" ip daddr @closed drop;
		iifname "%[2]s" meta nfproto ipv6 drop;
		oifname "%[2]s" ct state established,related accept;
		oifname "%[2]s" drop;
	}
	chain input { type filter hook input priority filter; policy accept;
		iifname "%[2]s*" ct state established,related accept;
		iifname "%[2]s*" drop;
	}
	chain postrouting { type nat hook postrouting priority srcnat; policy accept;
		ip saddr %[3]s oifname != "%[2]s" masquerade;
	}
}
`, table(p.bridge), p.bridge, p.prefix, strings.Join(closed, ", "))
}

// Connect gives a host an interface in the provider network, which only Open vSwitch uses, and returns the interface's name there. Without n, the
// host is this machine.
func (p *Provider) Connect(host string, n Network) (string, error) {
	name, do := ProviderInterface, func(f func() error) error { return f() }
	if n == nil {
		name = p.bridge + "-ovs"
	} else {
		do = n.Do
	}
	err := connect(p.bridge, providerPort(strings.TrimPrefix(p.bridge, providerPrefix), host), name, nil, n)
	if err == nil {
		err = do(func() error { return bareUp(name) })
	}
	if err != nil {
		return "", fmt.Errorf("connect host %s to the provider network: %w", host, err)
	}
	return name, nil
}

func providerPort(id, host string) string { return providerPrefix + id + "-" + host }

// Close removes the bridge and the rules.
func (p *Provider) Close() error {
	return RemoveProvider(strings.TrimPrefix(p.bridge, providerPrefix))
}

// RemoveProvider removes the provider network with this id and its rules, if they exist.
func RemoveProvider(id string) error {
	bridge := providerPrefix + id
	return errors.Join(removeRules("inet", bridge), removeLinks(bridge))
}
