// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// writeRules replaces Husk's tables in one kernel transaction.
//
//	netdev husk: per tap, at its ingress: only ARP and IPv4 with the pod's own addresses. Everything else is dropped before it
//	             reaches the bridge or the node, whatever its destination is.
//	inet husk:   forward  same bridge → accept; bridge → other bridge → drop; bridge → outside by Egress; outside → bridge only replies
//	             input    bridge → node: only replies, and echo requests to the bridge's own address; tap → node: nothing
//	             nat      pod range → outside: masquerade
func (n *Network) writeRules() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	if n.own, err = ownNetworks(); err != nil {
		return err
	}
	n.inetTable(c)
	n.netdevTable(c)
	removeTable(c, nftables.TableFamilyBridge) // of earlier releases
	if err := c.Flush(); err != nil {
		return fmt.Errorf("write nftables rules for %d ports: %w", len(n.ports), err)
	}
	n.written, err = readFingerprint()
	return err
}

// fresh replaces a table with an empty one and returns it.
func fresh(c *nftables.Conn, family nftables.TableFamily) *nftables.Table {
	removeTable(c, family)
	return c.AddTable(&nftables.Table{Name: tableName, Family: family})
}

// removeTable adds the table before it deletes it, because deleting a table that does not exist is an
// error.
func removeTable(c *nftables.Conn, family nftables.TableFamily) {
	t := &nftables.Table{Name: tableName, Family: family}
	c.AddTable(t)
	c.DelTable(t)
}

func removeTables() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	for _, family := range []nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyNetdev, nftables.TableFamilyBridge} {
		removeTable(c, family)
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove nftables tables: %w", err)
	}
	return nil
}

func (n *Network) inetTable(c *nftables.Conn) {
	t := fresh(c, nftables.TableFamilyINet)
	forward := c.AddChain(&nftables.Chain{
		Table: t, Name: "forward", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	})
	input := c.AddChain(&nftables.Chain{
		Table: t, Name: "input", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
	})
	nat := c.AddChain(&nftables.Chain{
		Table: t, Name: "postrouting", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	rule := func(chain *nftables.Chain, parts ...[]expr.Any) {
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: join(parts...)})
	}
	bridges := map[string]bool{}
	for _, p := range n.sorted() {
		if b := p.Bridge(); !bridges[b] {
			bridges[b] = true
			// This rule only has an effect if bridged frames also pass IP's hooks (br_netfilter).
			rule(forward, inInterface(b), outInterface(b), verdict(expr.VerdictAccept))
			rule(input, inInterface(b), destinationIn(netip.PrefixFrom(p.Gateway, 32)), echoRequest(), verdict(expr.VerdictAccept))
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
}

// netdevTable has a chain per tap, because a chain at ingress belongs to one device. It drops what
// none of its rules accepts.
func (n *Network) netdevTable(c *nftables.Conn) {
	t := fresh(c, nftables.TableFamilyNetdev)
	drop := nftables.ChainPolicyDrop
	for _, p := range n.sorted() {
		if !exists(p.Tap()) {
			continue // its machine has not started; Plug writes the rules again
		}
		chain := c.AddChain(&nftables.Chain{
			Table: t, Name: p.Tap(), Device: p.Tap(), Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookIngress,
			Priority: nftables.ChainPriorityFilter, Policy: &drop,
		})
		rule := func(parts ...[]expr.Any) {
			c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: join(parts...)})
		}
		ip := p.Address.Addr().AsSlice()
		rule(equals(linkLocalGroup, []byte{0x01, 0x80, 0xc2, 0, 0}), verdict(expr.VerdictDrop))
		rule(differs(etherSource, p.MAC), verdict(expr.VerdictDrop))
		rule(equals(etherType, []byte{0x08, 0x06}), equals(arpSenderMAC, p.MAC), equals(arpSenderIP, ip), verdict(expr.VerdictAccept))
		rule(equals(etherType, []byte{0x08, 0x00}), equals(ipSource, ip), verdict(expr.VerdictAccept))
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
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 4, Xor: binaryutil.NativeEndian.PutUint32(0),
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED),
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
