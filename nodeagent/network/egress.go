// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// Egress says which addresses outside of their networks pods may reach. By default that is the public
// Internet: not the private and special ranges, and not the networks of the node's own interfaces.
type Egress struct {
	Resolvers []netip.Addr   // pods may reach their port 53, even if Deny contains them
	Deny      []netip.Prefix // pods may not reach these, even if Allow contains them
	Allow     []netip.Prefix // pods may reach these, even if they are excluded by default
}

// notInternet are the ranges that are excluded by default: multicast, and those special-purpose
// addresses that may be in use inside a private network
// (https://www.iana.org/assignments/iana-ipv4-special-registry).
var notInternet = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("224.0.0.0/3"), // multicast and reserved
}

// Allows reports whether pods may reach all ports of an address.
func (e Egress) Allows(a netip.Addr) (bool, error) {
	own, err := ownNetworks()
	contains := func(p netip.Prefix) bool { return p.Contains(a) }
	switch {
	case err != nil:
		return false, err
	case !a.Is4(), slices.ContainsFunc(e.Deny, contains):
		return false, nil
	case slices.ContainsFunc(e.Allow, contains):
		return true, nil
	default:
		return !slices.ContainsFunc(append(own, notInternet...), contains), nil
	}
}

// ownNetworks returns the IPv4 networks of the node's interfaces, except those of pods.
func ownNetworks() ([]netip.Prefix, error) {
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list the node's addresses: %w", err)
	}
	var own []netip.Prefix
	for _, a := range addrs {
		if strings.HasPrefix(a.Label, bridgePrefix) {
			continue
		}
		ip, ok := netip.AddrFromSlice(a.IP.To4())
		ones, _ := a.Mask.Size()
		if p, err := ip.Prefix(ones); ok && err == nil {
			own = append(own, p)
		}
	}
	slices.SortFunc(own, func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(own), nil
}
