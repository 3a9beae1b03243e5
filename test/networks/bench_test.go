// SPDX-License-Identifier: Apache-2.0

package networks

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/vishvananda/netlink"

	agent "husk/nodeagent/network"
	"husk/server/network"
)

func (n *node) vsctl(args ...string) {
	n.lab.t.Helper()
	out, err := exec.CommandContext(n.lab.t.Context(), "../../build/ovn/bin/ovs-vsctl", append([]string{"--db=unix:" + n.host.OVS(), "--timeout=20"}, args...)...).CombinedOutput() //nolint:gosec // a benchmark
	if err != nil {
		n.lab.t.Fatalf("ovs-vsctl %v: %v\n%s", args, err, out)
	}
}

// plainGeneve connects a machine on each of two nodes by a tunnel that is set up by hand, with the same Open vSwitch and without OVN.
func plainGeneve(l *lab, a, b *node) (here, there *machine, at netip.Addr) {
	t := l.t
	machines := make([]*machine, 0, 2)
	for i, n := range []*node{a, b} {
		peer := []*node{b, a}[i]
		id := uuid.New()
		port := agent.Port{
			PodID: id, NetworkID: id, Address: netip.MustParsePrefix(fmt.Sprintf("172.31.0.%d/24", i+1)), Gateway: netip.MustParseAddr("172.31.0.254"),
			MAC: net.HardwareAddr{2, 7, 0, 0, 0, byte(i + 1)},
		}
		m := newMachine(t, []agent.Port{port})
		n.do(func() error {
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.MTU = "hkplain", 1442
			tap := &netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR}
			if err := netlink.LinkAdd(tap); err != nil {
				return err
			}
			for _, f := range tap.Fds {
				_ = f.Close()
			}
			return nil
		})
		n.vsctl("add-br", "br-plain", "--", "set", "bridge", "br-plain", "datapath_type="+string(l.stack.Datapath()),
			"--", "add-port", "br-plain", "plain0", "--", "set", "interface", "plain0", "type=geneve", "options:remote_ip="+peer.host.Overlay.String(), "options:key=77",
			"--", "add-port", "br-plain", "hkplain")
		n.do(func() error {
			tap, err := netlink.LinkByName("hkplain")
			if err != nil {
				return err
			}
			return netlink.LinkSetUp(tap)
		})
		m.connectTo(t, n, "hkplain")
		machines = append(machines, m)
	}
	return machines[0], machines[1], netip.MustParseAddr("172.31.0.2")
}

// transfer sends bytes from one machine to another, and returns how many arrive per second.
func transfer(t testing.TB, from, to *machine, at netip.Addr, size int64) float64 {
	t.Helper()
	var l net.Listener
	must(t, to.do(func() (err error) {
		l, err = net.Listen("tcp4", ":9000")
		return err
	}))
	defer l.Close()
	received := make(chan int64, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			received <- 0
			return
		}
		defer c.Close()
		n, _ := io.Copy(io.Discard, c)
		received <- n
	}()
	var began time.Time
	eventually(t, 10*time.Second, "the machine is reached", func() error {
		return from.do(func() error {
			c, err := net.DialTimeout("tcp4", netip.AddrPortFrom(at, 9000).String(), time.Second)
			if err != nil {
				return err
			}
			defer c.Close()
			began = time.Now()
			_, err = c.Write(make([]byte, size))
			return err
		})
	})
	if n := <-received; n != size {
		t.Fatalf("%d of %d bytes have arrived", n, size)
	}
	return float64(size) / time.Since(began).Seconds()
}

// BenchmarkThroughput sends the same through OVN and through a tunnel that is set up by hand, in turns.
func BenchmarkThroughput(b *testing.B) {
	l := start(b, network.Limits{})
	tn := l.tenant()
	p, q := tn.pod(l.nodes[0], nil), tn.pod(l.nodes[1], nil)
	here, there, at := plainGeneve(l, l.nodes[0], l.nodes[1])
	const size, rounds = 48 << 20, 7
	var ours, plain []float64
	for range rounds {
		plain = append(plain, transfer(b, here, there, at, size))
		ours = append(ours, transfer(b, p.machine, q.machine, q.addr(), size))
	}
	slices.Sort(ours)
	slices.Sort(plain)
	b.ReportMetric(ours[rounds/2]/plain[rounds/2], "of-plain")
	b.Logf("OVN %.0f Mbit/s, plain Geneve %.0f Mbit/s (medians of %d): %.2f times", ours[rounds/2]*8/1e6, plain[rounds/2]*8/1e6, rounds, ours[rounds/2]/plain[rounds/2])
}

// BenchmarkOneMorePort measures how long one more pod waits until it is connected, and until all nodes know it, next to many networks of
// three pods.
func BenchmarkOneMorePort(b *testing.B) {
	l := start(b, network.Limits{})
	last := l.tenant()
	sample := func(networks int) {
		var waits, everywhere []time.Duration
		for range 5 {
			began := time.Now()
			p := last.pod(l.nodes[0], nil)
			waits = append(waits, l.connected[len(l.connected)-1])
			l.nbctl("--wait=hv", "sync")
			everywhere = append(everywhere, time.Since(began))
			_ = p
		}
		slices.Sort(waits)
		slices.Sort(everywhere)
		b.ReportMetric(float64(waits[2].Milliseconds()), "ms-connected")
		b.ReportMetric(float64(everywhere[2].Milliseconds()), "ms-everywhere")
		if networks == 0 || networks%500 == 0 { // go test shows few lines of a benchmark
			b.Logf("next to %d networks, a pod is connected %s after its placement (median), and known to all nodes after %s", networks, waits[2].Round(time.Millisecond), everywhere[2].Round(time.Millisecond))
		}
	}
	sample(0)
	for made := 0; made < *manyNetworks; {
		began := time.Now()
		for range 100 {
			tn := l.tenant()
			for _, n := range l.nodes {
				tn.place(tn.create(nil), n)
			}
			made++
		}
		eventually(b, 10*time.Minute, "OVN has the networks", func() error {
			l.nbctl("--wait=sb", "sync")
			return nil
		})
		b.ReportMetric(time.Since(began).Seconds(), "s-for-100-networks")
		sample(made)
	}
}
