// SPDX-License-Identifier: Apache-2.0

package networks

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"husk"
	"husk/server/network"
	"husk/service"
)

// setInside tells the nodes which addresses are inside, as agents learn it with the names of a network.
func (tn *tenant) setInside() {
	l := tn.lab
	l.t.Helper()
	zones, err := l.store.Control().Zones(l.t.Context(), tn.id, service.DefaultSuffix)
	must(l.t, err)
	for _, n := range l.nodes {
		for _, z := range zones {
			var ranges []netip.Prefix
			for _, r := range z.Ranges {
				ranges = append(ranges, netip.MustParsePrefix(r))
			}
			n.do(func() error { return n.net.SetInside(z.NetworkID, ranges) })
		}
	}
}

func (p *pod) traffic() (sum husk.Traffic) {
	t := p.tenant.lab.t
	t.Helper()
	p.node.do(func() error {
		all, err := p.node.net.Traffic(p.ID)
		sum = all[p.ID]
		return err
	})
	return sum
}

// about allows for the last segments of a connection that has just ended.
func about(now, before int64) bool { return now >= before && now < before+500 }

// TestBytesOutsideAreCountedApart sends packets of known sizes to pods of the same tenant and to others.
func TestBytesOutsideAreCountedApart(t *testing.T) {
	l := start(t, network.Limits{})
	o := l.outside()
	o.serve(t)
	must(t, within(o.ns, func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(eth0, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP("192.88.99.2"), Mask: net.CIDRMask(32, 32)}})
	}))
	tn := l.tenant()
	tn.network("front", "10.1.0.0/25", "fd00:1::/64", false)
	tn.network("back", "10.1.0.128/25", "fd00:2::/64", false) // it begins where the other one ends
	n := l.nodes[0]
	p, near, other := tn.pod(n, nil, in("front")...), tn.pod(l.nodes[1], nil, in("front")...), tn.pod(l.nodes[1], nil, in("back")...)
	for _, to := range []*pod{near, other} {
		to.serve(t, 80)
		p.reaches(t, to, to.port.Address.Addr())
		p.reaches(t, to, to.port.Address6.Addr())
	}
	if sum := p.traffic(); sum.OutsideSentBytes != 0 || sum.SentBytes == 0 {
		t.Errorf("before the ranges are known, the traffic is %+v", sum)
	}
	tn.setInside()
	const datagrams, payload = 50, 1000
	send := func(to string) {
		t.Helper()
		must(t, p.do(func() error {
			c, err := net.ListenPacket("udp", ":0") // it is not connected: answers that a port is closed are no errors
			if err != nil {
				return err
			}
			defer c.Close()
			at := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(to), 9))
			for range datagrams {
				if _, err := c.WriteTo(make([]byte, payload), at); err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
			}
			return nil
		}))
	}
	sends := func(to string, want int64) {
		t.Helper()
		before := p.traffic()
		send(to)
		eventually(t, 5*time.Second, "what was sent to "+to+" is counted", func() error {
			now := p.traffic()
			if all, got := now.SentBytes-before.SentBytes, now.OutsideSentBytes-before.OutsideSentBytes; all < datagrams*payload || got != want {
				return fmt.Errorf("of %d bytes, %d were outside, want %d", all, got, want)
			}
			return nil
		})
	}
	sends(near.addr().String(), 0)
	sends(other.addr().String(), 0)
	sends(other.port.Address6.Addr().String(), 0)
	sends("100.127.0.9", 0) // of services
	sends("224.0.0.251", 0)
	sends("192.88.99.2", datagrams*(payload+8+20+14))
	sends("2001:db8::1", datagrams*(payload+8+40+14))
	sends("11.0.0.0", datagrams*(payload+8+20+14))
	sends("9.255.255.255", datagrams*(payload+8+20+14))

	before := p.traffic()
	p.reaches(t, other, other.addr())
	if now := p.traffic(); now.OutsideReceivedBytes != before.OutsideReceivedBytes || now.ReceivedBytes == before.ReceivedBytes {
		t.Errorf("after an answer of a pod, the traffic is %+v, after %+v", now, before)
	}
	_, err := p.get("192.88.99.2:80", patient)
	must(t, err)
	now := p.traffic()
	if got := now.OutsideReceivedBytes - before.OutsideReceivedBytes; got < 3*(20+20+14) || got > 1000 {
		t.Errorf("an answer from outside is counted as %d bytes", got)
	}

	// The count continues after the agent is restarted, also if an earlier agent did not count.
	n.do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		c.FlushChain(&nftables.Chain{Table: &nftables.Table{Name: "husk-taps", Family: nftables.TableFamilyNetdev}, Name: p.port.Tap()})
		return c.Flush()
	})
	n.boot()
	tn.setInside()
	n.do(func() error { return n.net.Attach(t.Context(), p.ports()...) })
	if again := p.traffic(); !about(again.OutsideSentBytes, now.OutsideSentBytes) {
		t.Errorf("after the agent was restarted, the traffic is %+v, before it was %+v", again, now)
	}
	sends("11.0.0.0", datagrams*(payload+8+20+14))
	now = p.traffic()

	// It continues after something else has removed it.
	restored := n.net.Restored()
	n.do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		c.FlushRuleset()
		return c.Flush()
	})
	eventually(t, 5*time.Second, "the node is guarded again", func() error {
		if n.net.Restored() == restored || n.net.Broken() {
			return errors.New("it is not")
		}
		return nil
	})
	if again := p.traffic(); !about(again.OutsideSentBytes, now.OutsideSentBytes) || !about(again.OutsideReceivedBytes, now.OutsideReceivedBytes) {
		t.Errorf("after the rules were restored, the traffic is %+v, before it was %+v", again, now)
	}
	sends("11.0.0.0", datagrams*(payload+8+20+14))

	// Nothing is left of a pod that is gone.
	must(t, n.net.SetInside(p.port.NetworkID, nil))
	p.disconnect()
	n.do(func() error { return n.net.Detach(t.Context(), p.ID) })
	n.do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := c.ListTablesOfFamily(nftables.TableFamilyNetdev)
		if err != nil {
			return err
		}
		for _, table := range tables {
			sets, err1 := c.GetSets(table)
			counters, err2 := c.GetObjects(table)
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			for _, set := range sets {
				t.Errorf("the set %s is left", set.Name)
			}
			for _, counter := range counters {
				t.Errorf("the counter %+v is left", counter)
			}
		}
		return nil
	})
}
