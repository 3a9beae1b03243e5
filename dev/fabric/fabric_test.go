// SPDX-License-Identifier: Apache-2.0

package fabric_test

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"husk/dev/fabric"
	"husk/dev/host"
)

func TestMain(m *testing.M) {
	host.BeInit()
	goleak.VerifyTestMain(m)
}

// The fabric of these tests is in TEST-NET-2, so it cannot hide a network that is in use.
var (
	prefix = netip.MustParsePrefix("198.51.100.0/24")
	here   = netip.MustParseAddr("198.51.100.1")
	other  = netip.MustParseAddr("198.51.100.2")
)

func newHost(t *testing.T, f *fabric.Fabric, name string, addr netip.Addr) *host.Host {
	t.Helper()
	forker := host.NewForker()
	h, err := host.Start(forker.Start, host.Config{Name: name, Cgroup: "husk-test-fabric-" + name + "/host"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		forker.Close()
		if err := host.RemoveGroups("husk-test-fabric-" + name); err != nil {
			t.Error(err)
		}
	})
	if err := f.Connect(name, h, addr); err != nil {
		t.Fatal(err)
	}
	return h
}

// reach sends a datagram from one network to an address of another, and reports whether it arrived.
func reach(t *testing.T, from, to func(func() error) error, addr netip.Addr) bool {
	t.Helper()
	var server, client net.Conn
	at := netip.AddrPortFrom(addr, 9)
	err := to(func() error {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		server = conn
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	err = from(func() (err error) {
		client, err = net.Dial("udp", at.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 3 { // the first one may wait for ARP
		if _, err := client.Write([]byte("x")); err != nil {
			return false
		}
		_ = server.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := server.Read(make([]byte, 1)); err == nil {
			return true
		}
	}
	return false
}

func TestCutsDropWhatTheySay(t *testing.T) {
	f, err := fabric.New(fabric.Owner{ID: "test1"}, prefix, here, other)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	addrA, addrB := netip.MustParseAddr("198.51.100.11"), netip.MustParseAddr("198.51.100.12")
	a, b := newHost(t, f, "a", addrA), newHost(t, f, "b", addrB)
	local := func(f func() error) error { return f() }
	links := []struct {
		name     string
		from, to func(func() error) error
		addr     netip.Addr
	}{
		{"a→b", a.Do, b.Do, addrB},
		{"b→a", b.Do, a.Do, addrA},
		{"a→here", a.Do, local, here},
		{"here→a", local, a.Do, addrA},
		{"b→here", b.Do, local, here},
	}
	open := func() string {
		var names []string
		for _, l := range links {
			if reach(t, l.from, l.to, l.addr) {
				names = append(names, l.name)
			}
		}
		return strings.Join(names, " ")
	}
	is := func(want string) (got string) { // on a busy machine, packets may come late
		for range 10 {
			if got = open(); got == want {
				break
			}
		}
		return got
	}
	const all = "a→b b→a a→here here→a b→here"
	if got := is(all); got != all {
		t.Fatalf("without cuts: %s", got)
	}
	for _, c := range []struct {
		cut  fabric.Cut
		want string
	}{
		{fabric.Cut{From: []netip.Addr{addrB}, Direction: fabric.Out}, "b→a a→here here→a b→here"},
		{fabric.Cut{From: []netip.Addr{addrB}, Direction: fabric.In}, "a→b a→here here→a b→here"},
		{fabric.Cut{From: []netip.Addr{here, other}, Direction: fabric.Both}, "a→b b→a b→here"},
		{fabric.Cut{From: []netip.Addr{here, other}, Direction: fabric.In}, "a→b b→a a→here b→here"},
		{fabric.Cut{Direction: fabric.Both}, "b→here"},
	} {
		if err := f.Cut("a", c.cut); err != nil {
			t.Fatal(err)
		}
		if got := is(c.want); got != c.want {
			t.Errorf("with the cut %v: %s, not %s", c.cut, got, c.want)
		}
		if err := f.Heal("a"); err != nil {
			t.Fatal(err)
		}
		if got := is(all); got != all {
			t.Errorf("healed after %v: %s", c.cut, got)
		}
	}
}

func TestAFabricRefusesARangeInUse(t *testing.T) {
	f, err := fabric.New(fabric.Owner{ID: "test2"}, netip.MustParsePrefix("127.0.0.0/24"), netip.MustParseAddr("127.0.0.1"))
	if err == nil || !strings.Contains(err.Error(), "uses the network 127.0.0.0/8 already; pass another --fabric") {
		t.Errorf("got %v, %v", f, err)
	}
	if out, err := exec.Command("ip", "-br", "link").Output(); err != nil || strings.Contains(string(out), "test2") {
		t.Error(fmt.Sprint(err, string(out)))
	}
}

func TestTheNetworksOfAKilledStackAreRemoved(t *testing.T) {
	ours := netip.MustParsePrefix("198.51.100.0/25")
	for _, id := range []string{"test3", "test4"} {
		if _, err := fabric.New(fabric.Owner{ID: id, StateDir: "/tmp/" + id}, ours, ours.Addr().Next()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = fabric.Remove(id) })
		ours = netip.MustParsePrefix("198.51.100.128/25")
	}
	if err := fabric.RemoveAbandoned(func(dir string) bool { return dir != "/tmp/test3" }); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"hkftest3": false, "hkftest4": true} {
		if _, err := netlink.LinkByName(name); (err == nil) != want {
			t.Errorf("%s exists: %v, want %t", name, err, want)
		}
	}
}
