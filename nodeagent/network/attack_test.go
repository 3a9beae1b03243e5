// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/uuid"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// send sends frames from the machine's interface, as a process with CAP_NET_RAW does.
func (m machine) send(t *testing.T, frames ...[]byte) {
	t.Helper()
	err := m.do(t, func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd) //nolint:errcheck // the frames are sent
		for _, frame := range frames {
			if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: m.card.Attrs().Index}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func ethernet(to, from net.HardwareAddr, kind uint16, payload []byte) []byte {
	frame := append(append([]byte{}, to...), from...)
	return append(binary.BigEndian.AppendUint16(frame, kind), payload...)
}

// datagram returns an IPv4 packet with UDP to port 9, without a UDP checksum.
func datagram(from, to netip.Addr, text string) []byte {
	udp := binary.BigEndian.AppendUint16(nil, 9)
	udp = binary.BigEndian.AppendUint16(udp, 9)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(text)))
	udp = append(udp, 0, 0)
	udp = append(udp, text...)
	ip := []byte{0x45, 0, 0, byte(20 + len(udp)), 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	ip = append(append(ip, from.AsSlice()...), to.AsSlice()...)
	var sum uint32
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(ip[i])<<8 | uint32(ip[i+1])
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	return append(ip, udp...)
}

// arpRequest returns an ARP request for the address to. Its sender is the address from, with a MAC address that is not the pod's.
func arpRequest(from, to net.IP) []byte {
	arp := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	arp = append(arp, 2, 9, 9, 9, 9, 9)
	arp = append(arp, from.To4()...)
	arp = append(arp, make([]byte, 6)...)
	return append(arp, to.To4()...)
}

// listen returns a socket for datagrams at port 9 of the current namespace.
func listen(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: 9})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// refuse fails the test for each datagram that has arrived.
func refuse(t *testing.T, c *net.UDPConn, who string) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for {
		text := make([]byte, 1500)
		n, err := c.Read(text)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Errorf("a datagram %s reached %s", text[:n], who)
	}
}

// A bridge hands frames for the addresses 01:80:c2:00:00:00-01:80:c2:00:00:0f to its node without
// passing them to the hooks of bridges.
func TestNoFrameReachesTheNodeOrAnotherTenant(t *testing.T) {
	inNamespace(t)
	n := start(t, Egress{})
	red, blue := boot(t, n, uuid.New(), "100.64.0.0/24", 2), boot(t, n, uuid.New(), "100.64.1.0/24", 2)
	node := listen(t)
	var stranger *net.UDPConn
	if err := blue.do(t, func() error { stranger = listen(t); return nil }); err != nil {
		t.Fatal(err)
	}
	own, address := red.port.MAC, red.port.Address.Addr()
	tap, err := net.InterfaceByName(red.port.Tap())
	if err != nil {
		t.Fatal(err)
	}
	bridge, err := net.InterfaceByName(red.port.Bridge())
	if err != nil {
		t.Fatal(err)
	}
	to := map[string]net.HardwareAddr{"broadcast": broadcast, "the bridge": bridge.HardwareAddr, "the tap": tap.HardwareAddr, "all hosts": {1, 0, 0x5e, 0, 0, 1}}
	for i := range byte(16) {
		to[fmt.Sprintf("group %x", i)] = net.HardwareAddr{0x01, 0x80, 0xc2, 0, 0, i}
	}
	for name, mac := range to {
		for _, target := range []netip.Addr{red.port.Gateway, blue.port.Gateway, blue.port.Address.Addr(), netip.MustParseAddr("255.255.255.255"), netip.MustParseAddr("127.0.0.1")} {
			for _, source := range []netip.Addr{address, netip.MustParseAddr("8.8.8.8")} {
				text := fmt.Sprintf("from %s to %s by %s", source, target, name)
				packet := datagram(source, target, text)
				tagged := append([]byte{0, 0, 8, 0}, packet...)
				red.send(t, ethernet(mac, own, unix.ETH_P_IP, packet), ethernet(mac, own, unix.ETH_P_8021Q, tagged),
					ethernet(mac, own, unix.ETH_P_8021AD, append([]byte{0, 0, 0x81, 0}, tagged...)))
			}
		}
	}
	refuse(t, node, "the node")
	refuse(t, stranger, "another tenant's pod")
}

// The node ignores IPv6 from its pods, and does not learn addresses that are not the pod's.
func TestAPodDoesNotConfigureItsNode(t *testing.T) {
	inNamespace(t)
	n := start(t, Egress{})
	m := boot(t, n, uuid.New(), "100.64.0.0/24", 2)
	for _, to := range []net.HardwareAddr{{0x33, 0x33, 0, 0, 0, 1}, {0x01, 0x80, 0xc2, 0, 0, 0x0e}} {
		m.send(t, ethernet(to, m.port.MAC, unix.ETH_P_IPV6, routerAdvertisement()))
	}
	victim := net.ParseIP("100.64.0.99")
	for _, to := range []net.HardwareAddr{broadcast, {0x01, 0x80, 0xc2, 0, 0, 0x0e}} {
		m.send(t, ethernet(to, m.port.MAC, unix.ETH_P_ARP, arpRequest(victim, m.port.Gateway.AsSlice())))
	}
	time.Sleep(200 * time.Millisecond) // a dropped frame leaves no sign to wait for
	for _, name := range []string{m.port.Tap(), m.port.Bridge()} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		addresses, err := netlink.AddrList(link, netlink.FAMILY_V6)
		if err != nil || len(addresses) > 0 {
			t.Errorf("%s has the IPv6 addresses %v (%v)", name, addresses, err)
		}
		neighbors, err := netlink.NeighList(link.Attrs().Index, netlink.FAMILY_V4)
		if err != nil {
			t.Fatal(err)
		}
		for _, neighbor := range neighbors {
			if neighbor.IP.Equal(victim) {
				t.Errorf("%s learned %s at %s", name, neighbor.IP, neighbor.HardwareAddr)
			}
		}
	}
}

// routerAdvertisement offers the prefix 2001:db8::/64 (RFC 4861).
func routerAdvertisement() []byte {
	from, to := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("ff02::1")
	body := []byte{134, 0, 0, 0, 64, 0, 0x0e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 64, 0xc0, 0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0, 0, 0}
	body = append(body, netip.MustParseAddr("2001:db8::").AsSlice()...)
	pseudo := append(append(append([]byte{}, from.AsSlice()...), to.AsSlice()...), 0, 0, 0, byte(len(body)), 0, 0, 0, unix.IPPROTO_ICMPV6)
	var sum uint32
	for _, part := range [][]byte{pseudo, body} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(part[i])<<8 | uint32(part[i+1])
		}
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(body[2:], ^uint16(sum+sum>>16))
	head := []byte{0x60, 0, 0, 0, 0, byte(len(body)), unix.IPPROTO_ICMPV6, 255}
	return append(append(append(head, from.AsSlice()...), to.AsSlice()...), body...)
}

func TestOnlyTheOwnGatewayAnswersPings(t *testing.T) {
	inNamespace(t)
	n := start(t, Egress{})
	red, blue := boot(t, n, uuid.New(), "100.64.0.0/24", 2), boot(t, n, uuid.New(), "100.64.1.0/24", 2)
	for address, want := range map[netip.Addr]bool{red.port.Gateway: true, blue.port.Gateway: false, blue.port.Address.Addr(): false} {
		if got := red.do(t, func() error { return ping(address, patience(want)) }) == nil; got != want {
			t.Errorf("%s answers a ping: %v, want %v", address, got, want)
		}
	}
}

// ping sends one echo request and waits for its reply.
func ping(to netip.Addr, timeout time.Duration) error {
	c, err := net.Dial("ip4:icmp", to.String())
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the reply has come, or not
	if _, err := c.Write([]byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 1500))
	return err
}

// outside connects the node to another host, which has the given addresses and is the node's default router.
func outside(t *testing.T, addresses ...string) {
	t.Helper()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	if err := netns.Set(home); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close(); _ = home.Close() })
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "uplink"
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(ns))}); err != nil {
		t.Fatal(err)
	}
	set := func(name, address string) error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(address))}); err != nil {
			return err
		}
		return netlink.LinkSetUp(link)
	}
	if err := set("uplink", "203.0.113.1/24"); err != nil {
		t.Fatal(err)
	}
	host := machine{ns: ns}
	err = host.do(t, func() error {
		if err := set("eth0", "203.0.113.2/24"); err != nil {
			return err
		}
		for _, a := range addresses {
			if err := set("eth0", a+"/32"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP("203.0.113.2")}); err != nil {
		t.Fatal(err)
	}
	host.port.Address = netip.MustParsePrefix("0.0.0.0/0")
	host.serve(t)
}

func TestPodsReachOnlyThePublicInternet(t *testing.T) {
	inNamespace(t)
	block := netip.MustParsePrefix
	n := start(t, Egress{
		Allow: []netip.Prefix{block("10.20.0.0/16"), block("10.30.0.0/16")}, Deny: []netip.Prefix{block("10.30.0.0/24"), block("198.51.100.0/24")},
	})
	want := map[string]bool{
		"8.8.8.8": true, "10.20.0.1": true, "10.30.1.1": true,
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.1": false, "192.168.0.1": false, "169.254.169.254": false, "100.127.0.1": false,
		"10.30.0.1": false, "198.51.100.1": false, "203.0.113.2": false, // the last is on the node's own network
		"100.64.200.1": false, // in the pod range, but the address of no pod
	}
	addresses := make([]string, 0, len(want))
	for a := range want {
		if a != "203.0.113.2" {
			addresses = append(addresses, a)
		}
	}
	outside(t, addresses...)
	m := boot(t, n, uuid.New(), "100.64.0.0/24", 2)
	var all sync.WaitGroup
	for a, allowed := range want {
		all.Go(func() {
			runtime.LockOSThread() // namespaces belong to threads; this one ends with the goroutine
			err := netns.Set(m.ns)
			if err == nil {
				err = reach("", netip.MustParseAddr(a), patience(allowed))
			}
			if (err == nil) != allowed {
				t.Errorf("%s is reached: %v, want %v (%v)", a, err == nil, allowed, err)
			}
		})
	}
	all.Wait()
	if err := reach("", netip.MustParseAddr("100.64.200.1"), impatient); err == nil {
		t.Error("a packet to an unused address of the pod range left through the uplink")
	}
}

func TestResolversAreReachedOnlyAtTheirPort(t *testing.T) {
	inNamespace(t)
	resolver := netip.MustParseAddr("10.0.0.53")
	n := start(t, Egress{Resolvers: []netip.Addr{resolver}, Deny: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	outside(t, resolver.String())
	m := boot(t, n, uuid.New(), "100.64.0.0/24", 2)
	err := m.do(t, func() error {
		if err := reach("", resolver, impatient); err == nil {
			t.Error("port 80 of the resolver is reached")
		}
		_, err := net.DialTimeout("tcp4", resolver.String()+":53", patient)
		return err
	})
	if !errors.Is(err, unix.ECONNREFUSED) { // nothing listens there
		t.Errorf("port 53 of the resolver: %v", err)
	}
}

// watch runs Watch in the test's namespace until the test ends.
func watch(t *testing.T, n *Network) {
	t.Helper()
	ns, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // namespaces belong to threads; this one ends with the goroutine
		if err := netns.Set(ns); err != nil {
			ended <- err
			return
		}
		ended <- n.Watch(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = ns.Close()
	})
}

func TestRulesAreRestored(t *testing.T) {
	inNamespace(t)
	n := startWith(t, Egress{}, Limits{PacketsPerSecond: 100_000, BytesPerSecond: 100 << 20, Connections: 1000})
	red, blue := boot(t, n, uuid.New(), "100.64.0.0/24", 2), boot(t, n, uuid.New(), "100.64.1.0/24", 2)
	watch(t, n)
	table := func(family nftables.TableFamily) *nftables.Table {
		return &nftables.Table{Name: tableName, Family: family}
	}
	for name, change := range map[string]func(c *nftables.Conn){
		"flush ruleset":    func(c *nftables.Conn) { c.FlushRuleset() },
		"delete one table": func(c *nftables.Conn) { c.DelTable(table(nftables.TableFamilyNetdev)) },
		"delete the table of connections": func(c *nftables.Conn) {
			c.DelTable(&nftables.Table{Name: connectionsTable, Family: nftables.TableFamilyINet})
		},
		"flush the rules of a table": func(c *nftables.Conn) { c.FlushTable(table(nftables.TableFamilyINet)) },
		"add a rule that accepts everything": func(c *nftables.Conn) {
			t := table(nftables.TableFamilyINet)
			c.InsertRule(&nftables.Rule{Table: t, Chain: &nftables.Chain{Name: "forward", Table: t}, Exprs: verdict(1)})
		},
		"change a policy": func(c *nftables.Conn) {
			accept := nftables.ChainPolicyAccept
			c.AddChain(&nftables.Chain{
				Table: table(nftables.TableFamilyNetdev), Name: red.port.Tap(), Device: red.port.Tap(), Type: nftables.ChainTypeFilter,
				Hooknum: nftables.ChainHookIngress, Priority: nftables.ChainPriorityFilter, Policy: &accept,
			})
		},
	} {
		before := n.Restored()
		c, err := nftables.New()
		if err != nil {
			t.Fatal(err)
		}
		change(c)
		if err := c.Flush(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for deadline := time.Now().Add(10 * time.Second); n.Restored() == before; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: the rules were not restored", name)
			}
		}
		if now, _, err := readFingerprint(ourTables...); err != nil || n.Broken() || now != n.written {
			t.Errorf("%s: the rules are not as before (%v)", name, err)
		}
	}
	// A change while the agent restores the rules must not count as what it wrote.
	_, want, err := readFingerprint(ourTables...)
	if err != nil {
		t.Fatal(err)
	}
	accept := func(c *nftables.Conn) {
		t := table(nftables.TableFamilyINet)
		c.InsertRule(&nftables.Rule{Table: t, Chain: &nftables.Chain{Name: "forward", Table: t}, Exprs: verdict(1)})
	}
	for i := range 40 {
		for range 2 {
			c, err := nftables.New()
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				c.FlushRuleset()
			} else {
				accept(c)
			}
			if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) { // the first change may have just been undone
				t.Fatal(err)
			}
			time.Sleep(time.Duration(i/2) * 200 * time.Microsecond) // so that the second change meets the agent at different moments
		}
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			_, is, err := readFingerprint(ourTables...)
			if err == nil && maps.Equal(is, want) && !n.Broken() {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("round %d: two changes in a row were not undone: %v (%v)", i, is, err)
			}
		}
	}
	if err := red.do(t, func() error { return reach("", blue.port.Address.Addr(), impatient) }); err == nil {
		t.Error("after the rules were restored, a pod reaches another tenant's pod")
	}
	if err := reach("", red.port.Address.Addr(), patient); err != nil {
		t.Errorf("after the rules were restored, the node does not reach a pod: %v", err)
	}
}

// A flush between the agent's two looks at the rules made it believe that the missing table of
// connections was the one that it had written. Then it never wrote that table again.
func TestAMissingTableIsNotTakenForAWrittenOne(t *testing.T) {
	inNamespace(t)
	n := startWith(t, Egress{}, Limits{Connections: 1000})
	boot(t, n, uuid.New(), "100.64.0.0/24", 2)
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	c.FlushRuleset()
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if n.connections, _, err = readFingerprint(connectionsTable); err != nil {
		t.Fatal(err)
	}
	if err := n.writeRules(); err != nil {
		t.Errorf("the rules are not written again: %v", err)
	}
}

// An agent that ends while it restores the rules leaves the taps down.
func TestTheNextAgentSetsTheTapsUp(t *testing.T) {
	inNamespace(t)
	first := startWith(t, Egress{}, Limits{})
	pod := boot(t, first, uuid.New(), "100.64.0.0/24", 2)
	if err := first.setTaps(false); err != nil {
		t.Fatal(err)
	}
	next := startWith(t, Egress{}, Limits{})
	if err := next.Adopt([]Port{pod.port}); err != nil {
		t.Fatal(err)
	}
	if err := reach("", pod.port.Address.Addr(), patient); err != nil {
		t.Errorf("the pod is not reached: %v", err)
	}
}
