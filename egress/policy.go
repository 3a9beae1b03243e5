// Package egress decides which addresses the server may be led to by what tenants name: registries in image references, issuers of ID
// tokens, and whatever these redirect to. A tenant who could make the server call an address of the operator's network would see and
// reach what the server can, so only the public Internet is open, and what the operator allows beside it.
//
// An address is judged when a connection is made, behind DNS: a name that changes its address between a check and its use, or a
// redirect, meets the same judgement. Proxies of the environment are not used, because only the proxy would then know the addresses.
//
// The package imports nothing of ours.
package egress

import (
	"fmt"
	"net/netip"
	"strings"
)

// Policy says which addresses may be reached. The zero value allows the public Internet over TLS and nothing else.
type Policy struct {
	// Allow are blocks that may be reached although they are not public. They may also be spoken to in plain HTTP.
	Allow []netip.Prefix
}

// Parse reads the blocks to allow beside the public Internet, such as 10.20.0.0/16 or ::1/128.
func Parse(blocks []string) (Policy, error) {
	var p Policy
	for _, text := range blocks {
		block, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return Policy{}, fmt.Errorf("%q is not a block of addresses such as 10.20.0.0/16 or ::1/128: %w", text, err)
		}
		if block.Addr().Is4In6() {
			return Policy{}, fmt.Errorf("%s is IPv4 written as IPv6; write the IPv4 block", text)
		}
		if block != block.Masked() {
			return Policy{}, fmt.Errorf("%s has bits behind its length; the block is %s", text, block.Masked())
		}
		p.Allow = append(p.Allow, block)
	}
	return p, nil
}

// allows tells whether the operator has allowed an address in so many words.
func (p Policy) allows(addr netip.Addr) bool {
	for _, block := range p.Allow {
		if block.Contains(addr) {
			return true
		}
	}
	return false
}

// refusal says why an address may not be reached, in plain HTTP or over TLS; "" means that it may.
func (p Policy) refusal(addr netip.Addr, plain bool) string {
	addr = addr.WithZone("").Unmap() // no block contains an address with a zone
	switch kind := notPublic(addr); {
	case p.allows(addr):
		return ""
	case kind != "":
		return kind
	case plain:
		return "which may be spoken to over TLS only"
	default:
		return ""
	}
}

// RefusedError says that a connection was not made because the policy forbids it. Its text names the address, which is for the operator's
// log: whoever named the host must not learn what the server's DNS answers.
type RefusedError struct {
	Host string     // as it was named: a name or an address
	Addr netip.Addr // what it led to
	Why  string
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s leads to %s, %s; the operator can allow it with --allow-egress", e.Host, e.Addr, e.Why)
}

// Obvious tells whether whoever named the host knows its address without asking DNS, so that saying that it is refused gives nothing away.
func (e *RefusedError) Obvious() bool {
	if strings.EqualFold(e.Host, "localhost") { // RFC 6761 §6.3
		return true
	}
	_, err := netip.ParseAddr(e.Host)
	return err == nil
}
