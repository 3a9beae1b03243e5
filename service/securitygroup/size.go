// SPDX-License-Identifier: Apache-2.0

package securitygroup

import (
	"net/netip"
	"slices"
)

// MaxSize is how large the rules of a group can be together (Size). Open vSwitch has about that many flows for each network with pods of the group, so
// that tenants cannot fill it.
const MaxSize = 500

// Size returns how many blocks of addresses and ports the rules of a group consist of.
func (g Group) Size() int {
	size := 0
	for _, r := range g.Rules {
		size++
		for _, p := range r.Ports {
			size += portBlocks(p.Port, max(p.Port, p.EndPort))
		}
		for _, p := range r.Peers {
			size += max(1, len(p.Blocks()))
		}
	}
	return size
}

// portBlocks returns of how many blocks with sizes of powers of two a range consists.
func portBlocks(first, last int) (n int) {
	for first <= last {
		size := 1
		for first%(size*2) == 0 && first+size*2-1 <= last {
			size *= 2
		}
		first += size
		n++
	}
	return n
}

// Blocks returns the blocks of addresses of a peer, without its exceptions. It is empty for a group, and if the exceptions are everything.
func (p Peer) Blocks() []netip.Prefix {
	block, err := netip.ParsePrefix(p.CIDR)
	if err != nil {
		return nil
	}
	blocks := []netip.Prefix{block}
	for _, text := range p.Except {
		e, err := netip.ParsePrefix(text)
		if err != nil {
			continue
		}
		var rest []netip.Prefix
		for _, b := range blocks {
			rest = append(rest, without(b, e)...)
		}
		blocks = rest
	}
	slices.SortFunc(blocks, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return blocks
}

// without returns what is left of a block.
func without(block, e netip.Prefix) []netip.Prefix {
	switch {
	case !block.Overlaps(e):
		return []netip.Prefix{block}
	case e.Bits() <= block.Bits():
		return nil
	}
	var rest []netip.Prefix
	for bits := block.Bits() + 1; bits <= e.Bits(); bits++ { // the other half of each block on the way down to the exception
		rest = append(rest, netip.PrefixFrom(flip(netip.PrefixFrom(e.Addr(), bits).Masked().Addr(), bits-1), bits))
	}
	return rest
}

// flip returns an address with one bit changed, counted from the left.
func flip(a netip.Addr, bit int) netip.Addr {
	raw := a.AsSlice()
	raw[bit/8] ^= 1 << (7 - bit%8)
	b, _ := netip.AddrFromSlice(raw)
	return b
}
