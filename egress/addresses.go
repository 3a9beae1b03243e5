// SPDX-License-Identifier: Apache-2.0

package egress

import "net/netip"

// special are the address ranges that are not part of the public Internet, from the IANA registries
// of special-purpose addresses: https://www.iana.org/assignments/iana-ipv4-special-registry and
// https://www.iana.org/assignments/iana-ipv6-special-registry. The first range that contains an
// address names it.
var special = []struct {
	block netip.Prefix
	name  string
}{
	{netip.MustParsePrefix("0.0.0.0/32"), "the unspecified address"},
	{netip.MustParsePrefix("0.0.0.0/8"), "an address of this network (RFC 791)"},
	{netip.MustParsePrefix("10.0.0.0/8"), "a private address (RFC 1918)"},
	{netip.MustParsePrefix("100.64.0.0/10"), "a shared address (RFC 6598)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "a loopback address"},
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address (RFC 3927)"},
	{netip.MustParsePrefix("172.16.0.0/12"), "a private address (RFC 1918)"},
	{netip.MustParsePrefix("192.0.0.0/24"), "an address for protocols (RFC 6890)"},
	{netip.MustParsePrefix("192.0.2.0/24"), "an address for documentation (RFC 5737)"},
	{netip.MustParsePrefix("192.88.99.0/24"), "a 6to4 relay (RFC 7526)"},
	{netip.MustParsePrefix("192.168.0.0/16"), "a private address (RFC 1918)"},
	{netip.MustParsePrefix("198.18.0.0/15"), "an address for benchmarks (RFC 2544)"},
	{netip.MustParsePrefix("198.51.100.0/24"), "an address for documentation (RFC 5737)"},
	{netip.MustParsePrefix("203.0.113.0/24"), "an address for documentation (RFC 5737)"},
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address"},
	{netip.MustParsePrefix("255.255.255.255/32"), "the broadcast address"},
	{netip.MustParsePrefix("240.0.0.0/4"), "a reserved address (RFC 1112)"},

	{netip.MustParsePrefix("::/128"), "the unspecified address"},
	{netip.MustParsePrefix("::1/128"), "a loopback address"},
	{netip.MustParsePrefix("64:ff9b::/96"), "an IPv4 address behind NAT64 (RFC 6052)"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "an IPv4 address behind NAT64 (RFC 8215)"},
	{netip.MustParsePrefix("2001::/32"), "an IPv4 address behind Teredo (RFC 4380)"},
	{netip.MustParsePrefix("2001:2::/48"), "an address for benchmarks (RFC 5180)"},
	{netip.MustParsePrefix("2001::/23"), "an address for protocols (RFC 2928)"},
	{netip.MustParsePrefix("2001:db8::/32"), "an address for documentation (RFC 3849)"},
	{netip.MustParsePrefix("2002::/16"), "an IPv4 address behind 6to4 (RFC 3056)"},
	{netip.MustParsePrefix("3fff::/20"), "an address for documentation (RFC 9637)"},
	{netip.MustParsePrefix("fc00::/7"), "a private address (RFC 4193)"},
	{netip.MustParsePrefix("fe80::/10"), "a link-local address (RFC 4291)"},
	{netip.MustParsePrefix("ff00::/8"), "a multicast address"},
}

// unicast6 is the only part of IPv6 from which public addresses are allocated:
// https://www.iana.org/assignments/ipv6-address-space.
var unicast6 = netip.MustParsePrefix("2000::/3")

// notPublic returns the kind of an address that is not on the public Internet, or "" for a public
// one. A few special addresses that anybody can reach (such as anycast services inside 192.0.0.0/24 and 2001::/23) count as
// not public, because no registry and no issuer has one.
func notPublic(addr netip.Addr) string {
	for _, s := range special {
		if s.block.Contains(addr) {
			return s.name
		}
	}
	if addr.Is6() && !unicast6.Contains(addr) {
		return "an address that is not public"
	}
	return ""
}
