// SPDX-License-Identifier: Apache-2.0

// Package egress decides to which addresses the server may connect because of something that a
// tenant configured: registries in image references, issuers of ID tokens, and the targets of their
// redirects. Without this check, a tenant could use the server to reach the operator's network. So
// only the public Internet is allowed, and the address ranges that the operator adds.
//
// An address is checked when a connection is made, after DNS. So the check also covers
// redirects, and names whose address changes after an earlier check. Proxies from the
// environment are not used, because then only the proxy would know the addresses.
//
// The package imports no other package of this module.
package egress

import (
	"fmt"
	"net/netip"
	"strings"
)

// Policy says which addresses may be reached. The zero value allows the public Internet over TLS
// and nothing else.
type Policy struct {
	// Allow are address ranges that may be reached although they are not public, also over plain
	// HTTP.
	Allow []netip.Prefix
}

// Parse reads the address ranges to allow in addition to the public Internet, such as 10.20.0.0/16
// or ::1/128.
func Parse(blocks []string) (Policy, error) {
	var p Policy
	for _, text := range blocks {
		block, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return Policy{}, fmt.Errorf("%q is not an address range such as 10.20.0.0/16 or ::1/128: %w", text, err)
		}
		if block.Addr().Is4In6() {
			return Policy{}, fmt.Errorf("%s is IPv4 written as IPv6; write the IPv4 range", text)
		}
		if block != block.Masked() {
			return Policy{}, fmt.Errorf("%s has bits set after its prefix length; write %s", text, block.Masked())
		}
		p.Allow = append(p.Allow, block)
	}
	return p, nil
}

// allows reports whether the operator has explicitly allowed an address.
func (p Policy) allows(addr netip.Addr) bool {
	for _, block := range p.Allow {
		if block.Contains(addr) {
			return true
		}
	}
	return false
}

// refusal says why an address may not be reached: over plain HTTP if plain is set, otherwise over TLS. It returns "" if the address is
// allowed.
func (p Policy) refusal(addr netip.Addr, plain bool) string {
	addr = addr.WithZone("").Unmap() // no range contains an address with a zone
	switch kind := notPublic(addr); {
	case p.allows(addr):
		return ""
	case kind != "":
		return kind
	case plain:
		return "which may only be reached over TLS"
	default:
		return ""
	}
}

// RefusedError means that a connection was not made because the policy forbids it. Its text
// contains the address, so it is only for the operator's log: the tenant who set the host must not
// learn what the server's DNS answers.
type RefusedError struct {
	Host string     // as it was given: a name or an address
	Addr netip.Addr // the address that it leads to
	Why  string
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s leads to %s, %s; the operator can allow it with --allow-egress", e.Host, e.Addr, e.Why)
}

// Obvious reports whether the address of the host is known without DNS, so that the refusal reveals
// nothing.
func (e *RefusedError) Obvious() bool {
	if strings.EqualFold(e.Host, "localhost") { // RFC 6761 §6.3
		return true
	}
	_, err := netip.ParseAddr(e.Host)
	return err == nil
}
