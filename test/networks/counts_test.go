// SPDX-License-Identifier: Apache-2.0

package networks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"husk"
	"husk/server/network"
	"husk/service/securitygroup"
)

// TestRulesAreCountedAndDropsAreShown connects to a pod with a group, and compares what its node counts with what was sent.
func TestRulesAreCountedAndDropsAreShown(t *testing.T) {
	l := start(t, network.Limits{})
	a := l.tenant()
	a.group("web")
	db := a.group("db", from(8080, peer("web")), from(8081, peer("web")))
	d, w, x := a.pod(l.nodes[0], role("db")), a.pod(l.nodes[1], role("web")), a.pod(l.nodes[2], nil)
	d.serve(t, 8080)
	eventually(t, 10*time.Second, "the peer reaches the port", func() error { return answers(quick(w.get), d.at(8080), w.addr(), d) })

	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	var mu sync.Mutex
	var drops []husk.SecurityDrop
	watching.Go(func() {
		_ = d.node.net.Drops(ctx, func(d husk.SecurityDrop) {
			mu.Lock()
			defer mu.Unlock()
			drops = append(drops, d)
		})
	})
	defer watching.Wait()
	defer cancel()
	counts := func() map[string]husk.SecurityCount {
		t.Helper()
		all, err := d.node.net.Counts(t.Context())
		must(t, err)
		by := map[string]husk.SecurityCount{}
		for _, c := range all {
			by[c.Key()] = c
		}
		must(t, l.store.Control().SecurityGroups().Record(t.Context(), d.node.id, all, nil))
		return by
	}
	allowed, unused, dropped := fmt.Sprint(db.Rules[0].Number), fmt.Sprint(db.Rules[1].Number), db.ID.String()+"ingress"
	before := counts()
	const connections = 10
	for range connections {
		must(t, answers(w.get, d.at(8080), w.addr(), d))
	}
	eventually(t, 5*time.Second, "a dropped packet is shown", func() error {
		_ = closed(quick(x.get), d.at(9090))
		mu.Lock()
		defer mu.Unlock()
		for _, p := range drops {
			if p.GroupID == db.ID && p.Direction == "ingress" && p.PodID == d.ID && p.Protocol == "TCP" && p.Source == x.addr() && p.Destination == d.addr() && p.DestinationPort == 9090 && p.SourcePort > 0 {
				return nil
			}
		}
		return fmt.Errorf("the drops are %+v", drops)
	})
	eventually(t, 5*time.Second, "packets are counted", func() error {
		now := counts()
		if n := now[allowed].Packets - before[allowed].Packets; n < connections*3 || n > connections*8 {
			return fmt.Errorf("the rule has allowed %d packets of %d connections", n, connections)
		}
		if now[unused].Packets != 0 || now[dropped].Packets == 0 || now[dropped].Bytes == 0 {
			return fmt.Errorf("the counts are %+v", now)
		}
		return nil
	})
	// A report that is repeated changes nothing. A counter that begins again adds.
	traffic := func() (securitygroup.Traffic, error) { return a.store.SecurityGroups().Traffic(t.Context(), db.ID) }
	first, err := traffic()
	must(t, err)
	report := []husk.SecurityCount{{Rule: db.Rules[1].Number, Packets: 7, Bytes: 70}, {GroupID: db.ID, Direction: "ingress", Packets: first.Dropped[0].Packets, Bytes: first.Dropped[0].Bytes}}
	groups := l.store.Control().SecurityGroups()
	must(t, errors.Join(groups.Record(t.Context(), d.node.id, report, drops), groups.Record(t.Context(), d.node.id, report, nil)))
	report[0].Packets = 3
	must(t, groups.Record(t.Context(), d.node.id, report, nil))
	last, err := traffic()
	must(t, err)
	if last.Rules[0] != first.Rules[0] || last.Rules[1].Packets != 10 || last.Dropped[0].Packets != first.Dropped[0].Packets || len(last.Drops) == 0 || last.Drops[len(last.Drops)-1].PodID != d.ID {
		t.Errorf("the traffic is %+v, after %+v", last, first)
	}
}

// TestSpoofedPacketsAreCounted sends packets that port security drops, and others.
func TestSpoofedPacketsAreCounted(t *testing.T) {
	l := start(t, network.Limits{})
	a := l.tenant()
	a.network("front", "10.1.0.0/24", "fd00:1::/64", false) // without IPv6, what Linux sends from a link-local address counts too
	p, neighbor := a.pod(l.nodes[0], nil, in("front")...), a.pod(l.nodes[0], nil, in("front")...)
	neighbor.serve(t, 80)
	spoofed := func() map[uuid.UUID]int64 {
		t.Helper()
		all, err := l.nodes[0].net.Spoofed(t.Context())
		must(t, err)
		return all
	}
	stranger := net.HardwareAddr{2, 9, 9, 9, 9, 9}
	frames := [][]byte{
		ethernet(neighbor.port.MAC, stranger, unix.ETH_P_IP, datagram(p.addr(), neighbor.addr(), "x")),
		ethernet(neighbor.port.MAC, p.port.MAC, unix.ETH_P_IP, datagram(neighbor.port.Gateway, neighbor.addr(), "x")),
		ethernet(broadcast, p.port.MAC, unix.ETH_P_ARP, arp(1, p.port.MAC, neighbor.addr(), p.port.Gateway, "x")),
	}
	before := spoofed()
	for range 10 {
		for _, f := range frames {
			p.inject(f)
		}
		must(t, answers(p.get, neighbor.at(80), p.addr(), neighbor))
	}
	eventually(t, 5*time.Second, "spoofed packets are counted", func() error {
		now := spoofed()
		if got := now[p.ID] - before[p.ID]; got != int64(10*len(frames)) || now[neighbor.ID] != before[neighbor.ID] {
			return fmt.Errorf("%d packets of the pod are counted, want %d, and %d of its neighbor", got, 10*len(frames), now[neighbor.ID]-before[neighbor.ID])
		}
		return nil
	})
}
