// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// machine replaces a pod's virtual machine: a network namespace with a veth pair whose other end
// replaces the pod's tap.
type machine struct {
	port Port
	ns   netns.NsHandle
	card netlink.Link
}

// inNamespace runs the test in its own network namespace, on a thread that ends with the test.
func inNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("create a network namespace (needs root): %v", err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// start prepares the namespace as an agent does.
func start(t *testing.T, egress Egress) *Network {
	t.Helper()
	return startWith(t, egress, Limits{})
}

func startWith(t *testing.T, egress Egress, limits Limits) *Network {
	t.Helper()
	n, err := New(Config{PodRange: netip.MustParsePrefix("100.64.0.0/11"), Egress: egress, Limits: limits, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (m machine) do(t *testing.T, f func() error) error {
	t.Helper()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close() //nolint:errcheck // only opened for reading
	if err := netns.Set(m.ns); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(home); err != nil {
			t.Fatal(err)
		}
	}()
	return f()
}

// boot attaches a port to a network and connects a machine to it.
func boot(t *testing.T, n *Network, network uuid.UUID, cidr string, host int) machine {
	t.Helper()
	prefix := netip.MustParsePrefix(cidr)
	gateway := prefix.Addr().Next()
	address := prefix.Addr()
	for range host {
		address = address.Next()
	}
	pod := uuid.New()
	m := machine{port: Port{
		PodID: pod, NetworkID: network, Address: netip.PrefixFrom(address, prefix.Bits()), Gateway: gateway,
		MAC: net.HardwareAddr{2, 0, 0, pod[0], pod[1], pod[2]},
	}}
	if err := n.Attach(m.port); err != nil {
		t.Fatal(err)
	}
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	if m.ns, err = netns.New(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.ns.Close() })
	if err := netns.Set(home); err != nil {
		t.Fatal(err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = m.port.Tap()
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerHardwareAddr: m.port.MAC, PeerNamespace: netlink.NsFd(int(m.ns))}); err != nil {
		t.Fatal(err)
	}
	if err := n.connect(m.port); err != nil {
		t.Fatal(err)
	}
	err = m.do(t, func() error {
		if m.card, err = netlink.LinkByName("eth0"); err != nil {
			return err
		}
		if err := netlink.AddrAdd(m.card, &netlink.Addr{IPNet: ipNet(m.port.Address)}); err != nil {
			return err
		}
		if err := netlink.LinkSetUp(m.card); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: m.card.Attrs().Index, Gw: gateway.AsSlice()})
	})
	if err != nil {
		t.Fatal(err)
	}
	m.serve(t)
	return m
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}

// serve accepts connections at the machine's port 80 until the test ends.
func (m machine) serve(t *testing.T) {
	t.Helper()
	err := m.do(t, func() error {
		l, err := net.Listen("tcp4", m.port.Address.Addr().String()+":80")
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The time limits for a connection that must succeed, and for one that must fail.
const (
	patient   = 10 * time.Second
	impatient = 700 * time.Millisecond
)

// patience returns how long a connection may take.
func patience(mustSucceed bool) time.Duration {
	if mustSucceed {
		return patient
	}
	return impatient
}

// reach opens a connection. If from is not empty, the connection comes from this address.
func reach(from string, to netip.Addr, timeout time.Duration) error {
	d := net.Dialer{Timeout: timeout}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := d.Dial("tcp4", fmt.Sprintf("%s:80", to))
	if err != nil {
		return err
	}
	return c.Close()
}

func TestPortsUseOnlyTheirAddressAndNetworksAreIsolated(t *testing.T) {
	inNamespace(t)
	n := start(t, Egress{})
	red, blue := uuid.New(), uuid.New()
	r1, r2 := boot(t, n, red, "100.64.0.0/24", 2), boot(t, n, red, "100.64.0.0/24", 3)
	b1 := boot(t, n, blue, "100.64.1.0/24", 2)

	check := func(what string, want bool, err error) {
		t.Helper()
		if (err == nil) != want {
			t.Errorf("%s: reached is %v, want %v (%v)", what, err == nil, want, err)
		}
	}
	check("node to pod", true, reach("", r1.port.Address.Addr(), patient))
	check("pod to neighbour", true, r1.do(t, func() error { return reach("", r2.port.Address.Addr(), patient) }))
	check("pod to another network", false, r1.do(t, func() error { return reach("", b1.port.Address.Addr(), impatient) }))

	host, err := net.Listen("tcp4", "0.0.0.0:80")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close() //nolint:errcheck // the test ends
	check("pod to its node", false, r1.do(t, func() error { return reach("", r1.port.Gateway, impatient) }))
	check("pod to its node through the other gateway", false, r1.do(t, func() error { return reach("", b1.port.Gateway, impatient) }))

	check("with an IP address that is not its own", false, r1.do(t, func() error {
		stolen := netip.MustParsePrefix("100.64.0.77/24")
		if err := netlink.AddrAdd(r1.card, &netlink.Addr{IPNet: ipNet(stolen)}); err != nil {
			t.Fatal(err)
		}
		return reach("100.64.0.77", r2.port.Address.Addr(), impatient)
	}))
	check("with its own address again", true, r1.do(t, func() error { return reach(r1.port.Address.Addr().String(), r2.port.Address.Addr(), patient) }))
	check("with a MAC address that is not its own", false, r1.do(t, func() error {
		if err := netlink.LinkSetHardwareAddr(r1.card, net.HardwareAddr{2, 9, 9, 9, 9, 9}); err != nil {
			t.Fatal(err)
		}
		return reach(r1.port.Address.Addr().String(), r2.port.Address.Addr(), impatient)
	}))
}

func TestUnusedBridgesAreRemoved(t *testing.T) {
	inNamespace(t)
	n := start(t, Egress{})
	m := boot(t, n, uuid.New(), "100.64.0.0/24", 2)
	for range 2 { // attaching and detaching are idempotent
		if err := n.Attach(m.port); err != nil {
			t.Fatal(err)
		}
	}
	// A new agent has no ports yet. The bridge stays, because a machine uses it.
	again := start(t, Egress{})
	if err := again.RemoveUnused(); err != nil {
		t.Fatal(err)
	}
	if !exists(m.port.Bridge()) {
		t.Error("a starting agent removed a bridge that a machine uses")
	}
	if err := again.Adopt([]Port{m.port}); err != nil {
		t.Fatal(err)
	}
	if err := reach("", m.port.Address.Addr(), patient); err != nil {
		t.Errorf("cannot reach an adopted machine: %v", err)
	}
	tap, err := netlink.LinkByName(m.port.Tap())
	if err == nil {
		err = netlink.LinkDel(tap) // as libvirt does when the machine ends
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := again.Detach(m.port.PodID); err != nil {
			t.Fatal(err)
		}
	}
	if exists(m.port.Bridge()) {
		t.Error("the bridge of a network without pods was not removed")
	}
	for range 2 {
		if err := Clear(); err != nil {
			t.Fatal(err)
		}
	}
}
