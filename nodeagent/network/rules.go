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

// writeRules replaces both tables in one kernel transaction.
//
//	inet husk:   forward  same bridge → accept; bridge → other bridge → drop; outside → bridge only replies
//	             input    bridge → node: only replies and echo requests; a pod is not a client of its node
//	             nat      pod range → outside: masquerade
//	bridge husk: prerouting, per tap: source MAC, ARP sender and IPv4 source must be the pod's own; only ARP and IPv4
func (n *Network) writeRules() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	n.inetTable(c)
	n.bridgeTable(c)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("write nftables rules for %d ports: %w", len(n.ports), err)
	}
	return nil
}

// fresh returns an empty table. It adds the table first so that deleting cannot fail, then deletes
// it and adds it again.
func fresh(c *nftables.Conn, family nftables.TableFamily) *nftables.Table {
	t := &nftables.Table{Name: tableName, Family: family}
	c.AddTable(t)
	c.DelTable(t)
	return c.AddTable(t)
}

func removeTables() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	for _, family := range []nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyBridge} {
		t := &nftables.Table{Name: tableName, Family: family}
		c.AddTable(t)
		c.DelTable(t)
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
			// Only matches if bridged frames also pass IP's hooks (br_netfilter).
			rule(forward, inInterface(b), outInterface(b), verdict(expr.VerdictAccept))
		}
	}
	rule(forward, fromBridge(), toBridge(), verdict(expr.VerdictDrop))
	rule(forward, toBridge(), established(), verdict(expr.VerdictAccept))
	rule(forward, toBridge(), verdict(expr.VerdictDrop))
	rule(input, fromBridge(), established(), verdict(expr.VerdictAccept))
	rule(input, fromBridge(), echoRequest(), verdict(expr.VerdictAccept))
	rule(input, fromBridge(), verdict(expr.VerdictDrop))
	rule(nat, sourceIn(n.podRange), notToBridge(), []expr.Any{&expr.Masq{}})
}

func (n *Network) bridgeTable(c *nftables.Conn) {
	t := fresh(c, nftables.TableFamilyBridge)
	chain := c.AddChain(&nftables.Chain{
		Table: t, Name: "prerouting", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRef(-300),
	})
	for _, p := range n.sorted() {
		ip := p.Address.Addr().AsSlice()
		for _, match := range [][]expr.Any{
			differs(payload(expr.PayloadBaseLLHeader, 6, 6), p.MAC),                                                     // Ethernet source
			join(etherType(unix.ETH_P_ARP, expr.CmpOpEq), differs(payload(expr.PayloadBaseNetworkHeader, 8, 6), p.MAC)), // ARP sender
			join(etherType(unix.ETH_P_ARP, expr.CmpOpEq), differs(payload(expr.PayloadBaseNetworkHeader, 14, 4), ip)),
			join(etherType(unix.ETH_P_IP, expr.CmpOpEq), differs(payload(expr.PayloadBaseNetworkHeader, 12, 4), ip)), // IPv4 source
			join(etherType(unix.ETH_P_IP, expr.CmpOpNeq), etherType(unix.ETH_P_ARP, expr.CmpOpNeq)),
		} {
			c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: join(inInterface(p.Tap()), match, verdict(expr.VerdictDrop))})
		}
	}
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
		[]expr.Any{payload(expr.PayloadBaseTransportHeader, 0, 1), &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{icmpEchoRequest}}},
	)
}

func sourceIn(prefix netip.Prefix) []expr.Any {
	return join(meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{unix.NFPROTO_IPV4}), []expr.Any{
		payload(expr.PayloadBaseNetworkHeader, 12, 4),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: net.CIDRMask(prefix.Bits(), 32), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: prefix.Masked().Addr().AsSlice()},
	})
}

func payload(base expr.PayloadBase, offset, length uint32) *expr.Payload {
	return &expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: length}
}

func differs(what *expr.Payload, data []byte) []expr.Any {
	return []expr.Any{what, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: data}}
}

func etherType(kind uint16, op expr.CmpOp) []expr.Any {
	return meta(expr.MetaKeyPROTOCOL, op, binaryutil.BigEndian.PutUint16(kind))
}
