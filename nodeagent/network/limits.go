// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"math"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Limits says how much of the node's network one pod can use. 0 means no limit.
type Limits struct {
	PacketsPerSecond int // in each direction
	BytesPerSecond   int // in each direction
	// Connections is how many entries a pod can have in the node's table of connections. The table is shared, and a full table stops new
	// connections of all pods and of the node.
	Connections int
}

// Check returns why the limits cannot be used.
func (l Limits) Check() error {
	if l.PacketsPerSecond < 0 || l.BytesPerSecond < 0 || l.Connections < 0 || l.Connections > math.MaxInt32 || l.PacketsPerSecond > math.MaxInt32 {
		return errors.New("limits of packets, bytes and connections must be between 0 and 2,147,483,647 (bytes can be more)")
	}
	return nil
}

const (
	// burstShare is the part of a second's packets and bytes that may come at once.
	burstShare = 5
	// minBurstBytes lets a few segments of TCP pass together. The kernel hands up to 64 KiB over as one packet.
	minBurstBytes = 1 << 20
)

// excess returns what matches packets above the limits of packets and bytes.
func (l Limits) excess() [][]expr.Any {
	var all [][]expr.Any
	add := func(kind expr.LimitType, rate, burst int) {
		if rate == 0 {
			return
		}
		burst = min(burst, math.MaxUint32)
		all = append(all, []expr.Any{
			&expr.Limit{Type: kind, Rate: uint64(rate), Unit: expr.LimitTimeSecond, Burst: uint32(burst), Over: true}, //nolint:gosec // checked
		})
	}
	add(expr.LimitTypePkts, l.PacketsPerSecond, max(1, l.PacketsPerSecond/burstShare))
	add(expr.LimitTypePktBytes, l.BytesPerSecond, max(minBurstBytes, l.BytesPerSecond/burstShare))
	return all
}

const connectionsTable = "husk-connections"

var ourTables = []string{tableName, connectionsTable}

// connectionsTable limits the connections of each pod. It is a table of its own, because the kernel forgets the connections that it has
// counted when the table is replaced, and the other tables are replaced whenever a pod comes or goes. Its chains come after those of the
// other tables, so they count only connections that those accept.
func (n *Network) connectionsTable(b builder) error {
	if n.cfg.Limits.Connections == 0 {
		return nil
	}
	now, _, err := readFingerprint(connectionsTable)
	if err != nil {
		return err
	}
	if now == n.connections && now != (fingerprint{}) {
		b.c = nil // only describe it
	}
	t := b.table(connectionsTable, nftables.TableFamilyINet)
	set := &nftables.Set{Table: t, Name: "pods", KeyType: nftables.TypeIPAddr, Dynamic: true, Size: math.MaxUint16}
	if err := b.set(set, nil); err != nil {
		return err
	}
	after := new(*nftables.ChainPriorityFilter + 1)
	for _, chain := range []*nftables.Chain{{Name: "forward", Hooknum: nftables.ChainHookForward}, {Name: "input", Hooknum: nftables.ChainHookInput}} {
		chain.Table, chain.Type, chain.Priority = t, nftables.ChainTypeFilter, after
		b.chain(chain)
		b.rule(chain, fromBridge(), isNew(), meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{unix.NFPROTO_IPV4}), []expr.Any{
			ipSource.load(),
			&expr.Dynset{
				SrcRegKey: 1, SetName: set.Name, SetID: set.ID, Operation: uint32(unix.NFT_DYNSET_OP_ADD),
				Exprs: []expr.Any{&expr.Connlimit{Count: uint32(n.cfg.Limits.Connections), Flags: expr.NFT_CONNLIMIT_F_INV}}, //nolint:gosec // checked
			},
		}, verdict(expr.VerdictDrop))
	}
	return nil
}

// isNew matches the first packet of a connection.
func isNew() []expr.Any { return state(expr.CtStateBitNEW) }

// toStrangers matches packets to addresses in pods' networks that no pod of this node has, except those for several hosts. If the node
// forwarded them, it would ask for their MAC addresses, and each question takes an entry in a table that all of its networks share.
func toStrangers(known *nftables.Set) []expr.Any {
	several := within(ipDestination, netip.MustParsePrefix("224.0.0.0/3"))
	several[len(several)-1].(*expr.Cmp).Op = expr.CmpOpNeq //nolint:forcetypeassert // see within
	return join(several, []expr.Any{
		ipDestination.load(), &expr.Lookup{SourceRegister: 1, SetName: known.Name, SetID: known.ID, Invert: true},
	})
}

// knownAddresses returns the addresses of the ports, and the broadcast addresses of their networks.
func (n *Network) knownAddresses() []nftables.SetElement {
	all := map[netip.Addr]bool{}
	for _, p := range n.ports {
		all[p.Address.Addr()], all[broadcastOf(p.Address)] = true, true
	}
	elements := make([]nftables.SetElement, 0, len(all))
	for a := range all {
		elements = append(elements, nftables.SetElement{Key: a.AsSlice()})
	}
	return elements
}

func broadcastOf(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		a[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(a)
}
