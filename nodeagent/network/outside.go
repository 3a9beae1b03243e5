// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/uuid"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"husk"
)

// What a pod sends and receives is inside or outside: inside are the tenant's pods and services that its network reaches, and what never leaves the
// network's own segment. The chains of a tap (guard) count the packets whose other address is outside. Open vSwitch could count them as well, but it
// has no flow for one pod and one direction.

// Traffic returns the traffic of pods. Those without taps are missing.
func (n *Network) Traffic(pods ...uuid.UUID) (map[uuid.UUID]husk.Traffic, error) {
	outside, err := n.countOutside()
	if err != nil {
		return nil, err
	}
	all := make(map[uuid.UUID]husk.Traffic, len(pods))
	for _, pod := range pods {
		for _, tap := range taps(pod) {
			link, err := netlink.LinkByName(tap)
			if errors.As(err, &netlink.LinkNotFoundError{}) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("read the traffic of pod %s: %w", pod, err)
			}
			s := link.Attrs().Statistics
			if s == nil {
				continue
			}
			sum, received, sent := all[pod], outside[tap+toPod], outside[tap]
			sum.ReceivedBytes += int64(s.TxBytes) //nolint:gosec // far below; the tap sends what the pod receives
			sum.SentBytes += int64(s.RxBytes)     //nolint:gosec // far below
			sum.OutsideReceivedBytes += received.bytes
			sum.OutsideSentBytes += sent.bytes + sent.packets*ethernetHeader
			all[pod] = sum
		}
	}
	return all, nil
}

// ethernetHeader is the size of what a chain at the ingress does not count of a packet, in bytes.
const ethernetHeader = 14

type counted struct{ packets, bytes int64 }

// countOutside reads the counters of all chains. While something else has removed one, its last count is returned. A tap whose network's ranges are
// not known yet has none.
func (n *Network) countOutside() (map[string]counted, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	n.counting.Lock() // before, so that removeCard does not forget a count that is read here
	defer n.counting.Unlock()
	found, err := c.GetObjects(guards())
	if err != nil {
		return nil, fmt.Errorf("read the counters of taps: %w", err)
	}
	for _, o := range found {
		if counter, ok := o.(*nftables.CounterObj); ok {
			n.outside[counter.Name] = counted{int64(counter.Packets), int64(counter.Bytes)} //nolint:gosec // far below
		}
	}
	return maps.Clone(n.outside), nil
}

// SetInside says which addresses are inside for the pods in a network; none: the network has no pods on the node any more. Until it is called,
// nothing is counted as outside.
func (n *Network) SetInside(network uuid.UUID, ranges []netip.Prefix) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(ranges) == 0 {
		delete(n.inside, network)
		return nil
	}
	ranges = distinct(append(slices.Clone(ranges), segment...))
	if slices.Equal(n.inside[network], ranges) {
		return nil
	}
	n.inside[network] = ranges
	var failures []error
	for tap, p := range n.ports {
		if p.NetworkID == network && exists(tap) {
			failures = append(failures, n.guard(tap))
		}
	}
	if err := errors.Join(failures...); err != nil {
		n.inside[network] = nil // the next call retries
		return err
	}
	return nil
}

// segment are the addresses that never leave the network's segment: unspecified, link-local, and groups.
var segment = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/32"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("::/128"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

// distinct sorts ranges, and leaves out those inside of others.
func distinct(ranges []netip.Prefix) (out []netip.Prefix) {
	slices.SortFunc(ranges, netip.Prefix.Compare) // a range that contains another one comes first
	for _, r := range ranges {
		if !r.IsValid() || len(out) > 0 && out[len(out)-1].Contains(r.Addr()) {
			continue
		}
		out = append(out, r.Masked())
	}
	return out
}

// family says where a packet of IPv4 or IPv6 has its addresses (RFC 791, RFC 8200), in bytes.
type family struct {
	name                      string
	key                       nftables.SetDatatype
	protocol                  []byte // of Ethernet
	source, destination, size uint32
	is4                       bool
}

var families = []family{
	{name: "-4", key: nftables.TypeIPAddr, protocol: []byte{0x08, 0x00}, source: 12, destination: 16, size: 4, is4: true},
	{name: "-6", key: nftables.TypeIP6Addr, protocol: []byte{0x86, 0xdd}, source: 8, destination: 24, size: 16},
}

// addOutside adds the rules to a chain of a tap that count what is outside of the tap's ranges. A counter that is there continues, and one that
// something else has removed begins with what was read last.
func (n *Network) addOutside(c *nftables.Conn, chain *nftables.Chain, tap string) {
	n.counting.Lock()
	last := n.outside[chain.Name]
	n.counting.Unlock()
	counter := &nftables.CounterObj{Table: chain.Table, Name: chain.Name, Packets: uint64(last.packets), Bytes: uint64(last.bytes)} //nolint:gosec // not negative
	c.AddObj(counter)
	for _, f := range families {
		at := f.destination
		if chain.Name != tap {
			at = f.source
		}
		c.AddRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: f.protocol},
			&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: at, Len: f.size, DestRegister: 1},
			&expr.Lookup{SourceRegister: 1, SetName: tap + f.name, Invert: true},
			&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: counter.Name},
		}})
	}
}

// setRanges replaces the ranges that the rules of a tap name.
func setRanges(c *nftables.Conn, table *nftables.Table, tap string, ranges []netip.Prefix) error {
	for _, f := range families {
		set := &nftables.Set{Table: table, Name: tap + f.name, Interval: true, KeyType: f.key}
		if err := c.AddSet(set, nil); err != nil {
			return err
		}
		c.FlushSet(set)
		var elements []nftables.SetElement
		for _, r := range ranges {
			if r.Addr().Is4() != f.is4 {
				continue
			}
			_, last, err := nftables.NetFirstAndLastIP(r.String())
			if err != nil {
				return err
			}
			elements = append(elements, nftables.SetElement{Key: r.Addr().AsSlice()})
			if at, ok := netip.AddrFromSlice(last); ok && at.Next().IsValid() {
				next := at.Next()
				elements = append(elements, nftables.SetElement{Key: next.AsSlice(), IntervalEnd: true})
			}
		}
		if err := c.SetAddElements(set, elements); err != nil {
			return err
		}
	}
	return nil
}
