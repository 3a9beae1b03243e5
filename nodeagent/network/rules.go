// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// writeRules replaces Husk's tables in one kernel transaction.
//
//	netdev husk: per tap, at its ingress: only ARP and IPv4 with the pod's own addresses, within Limits. Everything else is dropped before
//	             it reaches the bridge or the node, whatever its destination is. At its egress: Limits.
//	inet husk:   forward  same bridge → accept if a pod has the address; bridge → other bridge → drop; bridge → outside by Egress;
//	                      outside → bridge only replies
//	             input    bridge → node: only replies, and echo requests to the bridge's own address; tap → node: nothing
//	             nat      pod range → outside: masquerade
//	inet husk-connections: Limits of connections
func (n *Network) writeRules() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	if n.own, err = ownNetworks(); err != nil {
		return err
	}
	b := builder{c, shape{}}
	if err := errors.Join(n.inetTable(b), n.connectionsTable(b)); err != nil {
		return err
	}
	n.netdevTable(b)
	removeTable(c, tableName, nftables.TableFamilyBridge) // of earlier releases
	if err := c.Flush(); err != nil {
		return fmt.Errorf("write nftables rules for %d ports: %w", len(n.ports), err)
	}
	written, is, err := readFingerprint(ourTables...)
	if err != nil {
		return err
	}
	connections, _, err := readFingerprint(connectionsTable)
	if err != nil {
		return err
	}
	// Otherwise a change between writing and reading would count as what was written.
	if !maps.Equal(is, b.shape) {
		return errors.New("something else changed the nftables rules while they were written")
	}
	n.written, n.connections = written, connections
	return nil
}

// builder adds chains and rules, and counts them. Without a connection, it only counts.
type builder struct {
	c     *nftables.Conn
	shape shape
}

// shape describes tables without the content of their rules: for each chain its policy and how many
// rules it has, and for each table its flags and its highest handle. The kernel numbers the chains
// and rules of a new table from 1, so an added or replaced rule has a higher handle than expected.
type shape map[string]int

func (s shape) table(name string, family nftables.TableFamily, flags uint32) {
	s[fmt.Sprintf("%s %d flags %d", name, family, flags)] = 1
}

func (s shape) chain(chain *nftables.Chain) string {
	policy := nftables.ChainPolicyAccept
	if chain.Policy != nil {
		policy = *chain.Policy
	}
	return fmt.Sprintf("%s %d chain %s policy %d", chain.Table.Name, chain.Table.Family, chain.Name, policy)
}

func (s shape) handles(t *nftables.Table) string {
	return fmt.Sprintf("%s %d handles", t.Name, t.Family)
}

func (b builder) table(name string, family nftables.TableFamily) *nftables.Table {
	b.shape.table(name, family, 0)
	if b.c == nil {
		return &nftables.Table{Name: name, Family: family}
	}
	return fresh(b.c, name, family)
}

func (b builder) set(set *nftables.Set, elements []nftables.SetElement) error {
	b.shape[b.shape.handles(set.Table)]++
	if b.c == nil {
		return nil
	}
	return b.c.AddSet(set, elements)
}

func (b builder) chain(chain *nftables.Chain) *nftables.Chain {
	b.shape[b.shape.chain(chain)] = 0
	b.shape[b.shape.handles(chain.Table)]++
	if b.c == nil {
		return chain
	}
	return b.c.AddChain(chain)
}

func (b builder) rule(chain *nftables.Chain, parts ...[]expr.Any) {
	b.shape[b.shape.chain(chain)]++
	b.shape[b.shape.handles(chain.Table)]++
	if b.c == nil {
		return
	}
	b.c.AddRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: join(parts...)})
}

// fresh replaces a table with an empty one and returns it.
func fresh(c *nftables.Conn, name string, family nftables.TableFamily) *nftables.Table {
	removeTable(c, name, family)
	return c.AddTable(&nftables.Table{Name: name, Family: family})
}

// removeTable adds the table before it deletes it, because deleting a table that does not exist is an
// error.
func removeTable(c *nftables.Conn, name string, family nftables.TableFamily) {
	t := &nftables.Table{Name: name, Family: family}
	c.AddTable(t)
	c.DelTable(t)
}

func removeTables() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	for _, family := range []nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyNetdev, nftables.TableFamilyBridge} {
		removeTable(c, tableName, family)
	}
	removeTable(c, connectionsTable, nftables.TableFamilyINet)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove nftables tables: %w", err)
	}
	return nil
}

func (n *Network) inetTable(b builder) error {
	t := b.table(tableName, nftables.TableFamilyINet)
	known := &nftables.Set{Table: t, Name: "pods", KeyType: nftables.TypeIPAddr}
	if err := b.set(known, n.knownAddresses()); err != nil {
		return err
	}
	forward := b.chain(&nftables.Chain{
		Table: t, Name: "forward", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	})
	input := b.chain(&nftables.Chain{
		Table: t, Name: "input", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
	})
	nat := b.chain(&nftables.Chain{
		Table: t, Name: "postrouting", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	rule := b.rule
	rule(forward, fromBridge(), toBridge(), toStrangers(known), verdict(expr.VerdictDrop))
	bridges := map[string]bool{}
	for _, p := range n.sorted() {
		if name := p.Bridge(); !bridges[name] {
			bridges[name] = true
			// This rule is for pods that send frames for their own network to the gateway, and for bridged frames that also pass IP's
			// hooks (br_netfilter).
			rule(forward, inInterface(name), outInterface(name), verdict(expr.VerdictAccept))
			rule(input, inInterface(name), destinationIn(netip.PrefixFrom(p.Gateway, 32)), echoRequest(), verdict(expr.VerdictAccept))
		}
	}
	rule(forward, fromTap(), verdict(expr.VerdictDrop))
	rule(forward, fromBridge(), toBridge(), verdict(expr.VerdictDrop))
	rule(forward, toBridge(), established(), verdict(expr.VerdictAccept))
	rule(forward, toBridge(), verdict(expr.VerdictDrop))
	for _, r := range n.cfg.Egress.Resolvers {
		for _, protocol := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
			rule(forward, fromBridge(), destinationIn(netip.PrefixFrom(r, 32)), destinationPort(protocol, 53), verdict(expr.VerdictAccept))
		}
	}
	for _, p := range n.cfg.Egress.Deny {
		rule(forward, fromBridge(), destinationIn(p), verdict(expr.VerdictDrop))
	}
	for _, p := range n.cfg.Egress.Allow {
		rule(forward, fromBridge(), destinationIn(p), verdict(expr.VerdictAccept))
	}
	for _, p := range append(n.own, notInternet...) {
		rule(forward, fromBridge(), destinationIn(p), verdict(expr.VerdictDrop))
	}
	rule(input, fromTap(), verdict(expr.VerdictDrop))
	rule(input, fromBridge(), established(), verdict(expr.VerdictAccept))
	rule(input, fromBridge(), verdict(expr.VerdictDrop))
	rule(nat, sourceIn(n.cfg.PodRange), notToBridge(), []expr.Any{&expr.Masq{}})
	return nil
}

// netdevTable has a chain per tap, because a chain at ingress belongs to one device. It drops what
// none of its rules accepts.
func (n *Network) netdevTable(b builder) {
	t := b.table(tableName, nftables.TableFamilyNetdev)
	drop := nftables.ChainPolicyDrop
	for _, p := range n.sorted() {
		if !exists(p.Tap()) {
			continue // its machine has not started; Plug writes the rules again
		}
		chain := b.chain(&nftables.Chain{
			Table: t, Name: p.Tap(), Device: p.Tap(), Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookIngress,
			Priority: nftables.ChainPriorityFilter, Policy: &drop,
		})
		rule := func(parts ...[]expr.Any) { b.rule(chain, parts...) }
		excess := n.cfg.Limits.excess()
		for _, over := range excess {
			rule(over, verdict(expr.VerdictDrop))
		}
		ip := p.Address.Addr().AsSlice()
		rule(equals(linkLocalGroup, []byte{0x01, 0x80, 0xc2, 0, 0}), verdict(expr.VerdictDrop))
		rule(differs(etherSource, p.MAC), verdict(expr.VerdictDrop))
		rule(equals(etherType, []byte{0x08, 0x06}), equals(arpSenderMAC, p.MAC), equals(arpSenderIP, ip), verdict(expr.VerdictAccept))
		rule(equals(etherType, []byte{0x08, 0x00}), equals(ipSource, ip), verdict(expr.VerdictAccept))
		if len(excess) == 0 {
			continue
		}
		toPod := b.chain(&nftables.Chain{
			Table: t, Name: p.Tap() + "-to-pod", Device: p.Tap(), Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookEgress,
			Priority: nftables.ChainPriorityFilter,
		})
		for _, over := range excess {
			b.rule(toPod, over, verdict(expr.VerdictDrop))
		}
	}
}

// Fields of a frame. The type of a frame with a VLAN tag is that of the tag, so such frames are dropped.
var (
	linkLocalGroup = field{expr.PayloadBaseLLHeader, 0, 5} // 01:80:c2:00:00:0x, which bridges hand to their node (IEEE 802.1D)
	etherSource    = field{expr.PayloadBaseLLHeader, 6, 6}
	etherType      = field{expr.PayloadBaseLLHeader, 12, 2}
	arpSenderMAC   = field{expr.PayloadBaseNetworkHeader, 8, 6}
	arpSenderIP    = field{expr.PayloadBaseNetworkHeader, 14, 4}
	ipSource       = field{expr.PayloadBaseNetworkHeader, 12, 4}
	ipDestination  = field{expr.PayloadBaseNetworkHeader, 16, 4}
)

type field struct {
	base           expr.PayloadBase
	offset, length uint32
}

func (f field) load() *expr.Payload {
	return &expr.Payload{DestRegister: 1, Base: f.base, Offset: f.offset, Len: f.length}
}

func equals(f field, data []byte) []expr.Any {
	return []expr.Any{f.load(), &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data}}
}

func differs(f field, data []byte) []expr.Any {
	return []expr.Any{f.load(), &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: data}}
}

func join(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }

// meta compares a property of the packet with data. Data shorter than the property matches as a
// prefix.
func meta(key expr.MetaKey, op expr.CmpOp, data []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: data}}
}

func interfaceName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

func inInterface(name string) []expr.Any {
	return meta(expr.MetaKeyIIFNAME, expr.CmpOpEq, interfaceName(name))
}

func outInterface(name string) []expr.Any {
	return meta(expr.MetaKeyOIFNAME, expr.CmpOpEq, interfaceName(name))
}

func fromBridge() []expr.Any {
	return meta(expr.MetaKeyIIFNAME, expr.CmpOpEq, []byte(bridgePrefix))
}

func fromTap() []expr.Any {
	return meta(expr.MetaKeyIIFNAME, expr.CmpOpEq, []byte(tapPrefix))
}

func toBridge() []expr.Any {
	return meta(expr.MetaKeyOIFNAME, expr.CmpOpEq, []byte(bridgePrefix))
}

func notToBridge() []expr.Any {
	return meta(expr.MetaKeyOIFNAME, expr.CmpOpNeq, []byte(bridgePrefix))
}

func established() []expr.Any {
	return state(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
}

// state matches packets whose connection is in one of these states.
func state(bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 4, Xor: binaryutil.NativeEndian.PutUint32(0),
			Mask: binaryutil.NativeEndian.PutUint32(bits),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
	}
}

func echoRequest() []expr.Any {
	const icmpEchoRequest = 8
	return join(
		meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{unix.NFPROTO_IPV4}),
		meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{unix.IPPROTO_ICMP}),
		equals(field{expr.PayloadBaseTransportHeader, 0, 1}, []byte{icmpEchoRequest}),
	)
}

func destinationPort(protocol byte, port uint16) []expr.Any {
	return join(meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{protocol}),
		equals(field{expr.PayloadBaseTransportHeader, 2, 2}, binaryutil.BigEndian.PutUint16(port)))
}

func sourceIn(prefix netip.Prefix) []expr.Any { return within(ipSource, prefix) }

func destinationIn(prefix netip.Prefix) []expr.Any { return within(ipDestination, prefix) }

func within(f field, prefix netip.Prefix) []expr.Any {
	return join(meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{unix.NFPROTO_IPV4}), []expr.Any{
		f.load(),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: net.CIDRMask(prefix.Bits(), 32), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: prefix.Masked().Addr().AsSlice()},
	})
}
