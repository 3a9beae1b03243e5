// SPDX-License-Identifier: Apache-2.0

package securitygroup

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"husk"
)

func rule(f func(r *Rule)) Group {
	r := Rule{Direction: Ingress, Protocol: TCP}
	f(&r)
	return Group{Name: "g", Rules: []Rule{r}}.Complete(false)
}

func TestGroupsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		group Group
		field string // empty: the group is accepted
	}{
		"no rules":                   {Group{Name: "g"}.Complete(false), ""},
		"everything":                 {rule(func(r *Rule) { r.Protocol = Any }), ""},
		"a range":                    {rule(func(r *Rule) { r.Ports = []Port{{80, 90}} }), ""},
		"a range from its end":       {rule(func(r *Rule) { r.Ports = []Port{{80, 79}} }), "rules[0].ports[0].endPort"},
		"ports of ICMP":              {rule(func(r *Rule) { r.Protocol, r.Ports = ICMP, []Port{{80, 0}} }), "rules[0].ports"},
		"an empty peer":              {rule(func(r *Rule) { r.Peers = []Peer{{}} }), "rules[0].peers[0]"},
		"two peers in one":           {rule(func(r *Rule) { r.Peers = []Peer{{Group: "a", CIDR: "10.0.0.0/8"}} }), "rules[0].peers[0]"},
		"no block":                   {rule(func(r *Rule) { r.Peers = []Peer{{CIDR: "10.0.0.1/8"}} }), "rules[0].peers[0].cidr"},
		"a block of IPv4 in IPv6":    {rule(func(r *Rule) { r.Peers = []Peer{{CIDR: "::ffff:10.1.0.0/112"}} }), "rules[0].peers[0].cidr"},
		"an exception of a group":    {rule(func(r *Rule) { r.Peers = []Peer{{Group: "a", Except: []string{"10.0.0.0/8"}}} }), "rules[0].peers[0].except"},
		"an exception elsewhere":     {rule(func(r *Rule) { r.Peers = []Peer{{CIDR: "10.0.0.0/8", Except: []string{"11.0.0.0/9"}}} }), "rules[0].peers[0].except[0]"},
		"an exception of IPv6":       {rule(func(r *Rule) { r.Peers = []Peer{{CIDR: "10.0.0.0/8", Except: []string{"fd00::/9"}}} }), "rules[0].peers[0].except[0]"},
		"a direction that is open":   {Group{Name: "g", Restricts: []Direction{Ingress}, Rules: []Rule{{Direction: Egress}}}.Complete(true), "rules[0].direction"},
		"more than Open vSwitch has": {rule(func(r *Rule) { r.Peers = manyPeers() }), "rules"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.group.Check()
			field := ""
			if e, ok := err.(*husk.Error); ok { //nolint:errorlint // as the API does
				field = e.Field
			}
			if field != c.field || (err == nil) != (c.field == "") {
				t.Errorf("the field is %q, want %q: %v", field, c.field, err)
			}
		})
	}
}

// manyPeers are blocks whose exceptions make many others of them.
func manyPeers() (peers []Peer) {
	for range MaxPeers {
		peers = append(peers, Peer{CIDR: "0.0.0.0/0", Except: []string{"10.0.0.1/32", "192.0.2.1/32"}})
	}
	return peers
}

func TestWhatAGroupRestrictsFollowsFromItsRules(t *testing.T) {
	t.Parallel()
	for rules, want := range map[string]string{"": "ingress", "ingress": "ingress", "egress": "ingress egress", "egress ingress": "ingress egress"} {
		var g Group
		for d := range strings.FieldsSeq(rules) {
			g.Rules = append(g.Rules, Rule{Direction: Direction(d)})
		}
		var got []string
		for _, d := range g.Complete(false).Restricts {
			got = append(got, string(d))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("with rules about %q, a group restricts %v, want %s", rules, got, want)
		}
		if left := g.Complete(true).Restricts; len(left) > 0 {
			t.Errorf("a group that restricts nothing explicitly restricts %v", left)
		}
	}
}

// The blocks have exactly the addresses that are in the block and in no exception.
func TestExceptionsLeaveBlocks(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	address := func() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(random.UintN(256))}) }
	for range 500 {
		p := Peer{CIDR: netip.PrefixFrom(address(), 24+random.IntN(4)).Masked().String()}
		for range random.IntN(4) {
			p.Except = append(p.Except, netip.PrefixFrom(address(), 25+random.IntN(8)).Masked().String())
		}
		blocks := p.Blocks()
		for last := range 256 {
			a := netip.AddrFrom4([4]byte{10, 0, 0, byte(last)})
			want := netip.MustParsePrefix(p.CIDR).Contains(a)
			for _, e := range p.Except {
				want = want && !netip.MustParsePrefix(e).Contains(a)
			}
			got := 0
			for _, b := range blocks {
				if b.Contains(a) {
					got++
				}
			}
			if got > 1 || (got == 1) != want {
				t.Fatalf("%s is in %d of the blocks %v of %+v, want it there: %t", a, got, blocks, p, want)
			}
		}
	}
}

func TestRangesOfPortsConsistOfBlocks(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]int{{80, 80, 1}, {80, 81, 1}, {1, 65535, 16}, {1, 65534, 30}, {8000, 8010, 3}} {
		if got := portBlocks(c[0], c[1]); got != c[2] {
			t.Errorf("%d to %d are %d blocks, want %d", c[0], c[1], got, c[2])
		}
	}
}
