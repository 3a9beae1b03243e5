// SPDX-License-Identifier: Apache-2.0

package networks

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"husk"
	"husk/server/network"
)

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func ethernet(to, from net.HardwareAddr, kind uint16, payload []byte) []byte {
	frame := append(append([]byte{}, to...), from...)
	return append(binary.BigEndian.AppendUint16(frame, kind), payload...)
}

// checksum is that of IP and its protocols (RFC 1071).
func checksum(parts ...[]byte) uint16 {
	var sum uint32
	for _, part := range parts {
		for i := 0; i < len(part); i += 2 {
			word := uint32(part[i]) << 8
			if i+1 < len(part) {
				word |= uint32(part[i+1])
			}
			sum += word
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// ipv4 returns a packet. flags are those of fragments, and their offset.
func ipv4(from, to netip.Addr, protocol byte, flags uint16, body []byte) []byte {
	head := []byte{0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, protocol, 0, 0}
	binary.BigEndian.PutUint16(head[2:], uint16(20+len(body)))
	binary.BigEndian.PutUint16(head[6:], flags)
	head = append(append(head, from.AsSlice()...), to.AsSlice()...)
	binary.BigEndian.PutUint16(head[10:], checksum(head))
	return append(head, body...)
}

// udp returns a datagram without a checksum, which IPv4 allows.
func udp(from, to uint16, text string) []byte {
	head := binary.BigEndian.AppendUint16(nil, from)
	head = binary.BigEndian.AppendUint16(head, to)
	head = binary.BigEndian.AppendUint16(head, uint16(8+len(text)))
	return append(append(head, 0, 0), text...)
}

func datagram(from, to netip.Addr, text string) []byte {
	return ipv4(from, to, unix.IPPROTO_UDP, 0, udp(9, 9, text))
}

// arp returns a message with a text after it, which Ethernet takes for padding.
func arp(operation byte, mac net.HardwareAddr, from, to netip.Addr, text string) []byte {
	m := []byte{0, 1, 8, 0, 6, 4, 0, operation}
	m = append(append(m, mac...), from.AsSlice()...)
	m = append(append(m, make([]byte, 6)...), to.AsSlice()...)
	return append(m, text...)
}

// ipv6 returns a packet of ICMPv6, behind extension headers.
func ipv6(from, to netip.Addr, extensions int, icmp []byte) []byte {
	next := byte(unix.IPPROTO_ICMPV6)
	pseudo := append(append(append([]byte{}, from.AsSlice()...), to.AsSlice()...), 0, 0, 0, byte(len(icmp)), 0, 0, 0, next)
	binary.BigEndian.PutUint16(icmp[2:], 0)
	binary.BigEndian.PutUint16(icmp[2:], checksum(pseudo, icmp))
	body := icmp
	for range extensions { // destination options with padding only
		body = append([]byte{next, 0, 1, 4, 0, 0, 0, 0}, body...)
		next = unix.IPPROTO_DSTOPTS
	}
	head := []byte{0x60, 0, 0, 0, byte(len(body) >> 8), byte(len(body)), next, 255}
	return append(append(append(head, from.AsSlice()...), to.AsSlice()...), body...)
}

// icmp6 returns a message with a body that begins with a link-layer address, and a text.
func icmp6(kind byte, fixed []byte, option byte, mac net.HardwareAddr, text string) []byte {
	m := append([]byte{kind, 0, 0, 0}, fixed...)
	m = append(append(m, option, 1), mac...)
	for len(text)%8 != 6 { // an option is a multiple of 8 bytes
		text += " "
	}
	return append(append(m, 14, byte((2+len(text))/8)), text...) // a nonce
}

// attacks returns the frames that a pod tries to send to a neighbor, a stranger, its node and others, by their names. Each one has its name in it.
func attacks(me, neighbor, stranger *pod, nodes []netip.Addr) map[string][][]byte {
	mac, own, gateway := me.port.MAC, me.addr(), me.port.Gateway
	other := net.HardwareAddr{2, 9, 9, 9, 9, 9}
	near, far := neighbor.port.MAC, stranger.port.MAC
	link := netip.MustParseAddr("fe80::bad")
	all := netip.MustParseAddr("ff02::1")
	multicast := net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
	text := func(name string) string { return "attack:" + name + ";" }
	a := map[string][][]byte{}
	add := func(name string, frames ...[]byte) { a[name] = append(a[name], frames...) }
	vlan := func(payload []byte) []byte { return append([]byte{0, 7, 8, 0}, payload...) }

	name := "forged MAC"
	add(name, ethernet(near, other, unix.ETH_P_IP, datagram(own, neighbor.addr(), text(name))), ethernet(broadcast, other, unix.ETH_P_IP, datagram(own, neighbor.addr(), text(name))))
	name = "forged IP"
	for _, from := range []netip.Addr{gateway, stranger.addr(), netip.MustParseAddr("8.8.8.8"), netip.IPv4Unspecified(), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("100.64.0.250")} {
		add(name, ethernet(near, mac, unix.ETH_P_IP, datagram(from, neighbor.addr(), text(name))))
	}
	name = "forged ARP"
	for _, from := range []netip.Addr{gateway, neighbor.addr(), netip.MustParseAddr("100.64.0.250")} {
		add(name, ethernet(broadcast, mac, unix.ETH_P_ARP, arp(1, mac, from, neighbor.addr(), text(name))), ethernet(near, mac, unix.ETH_P_ARP, arp(2, mac, from, neighbor.addr(), text(name))),
			ethernet(broadcast, mac, unix.ETH_P_ARP, arp(1, mac, from, from, text(name))))
	}
	add(name, ethernet(broadcast, mac, unix.ETH_P_ARP, arp(1, other, own, neighbor.addr(), text(name))))
	name = "another tenant's MAC"
	add(name, ethernet(far, mac, unix.ETH_P_IP, datagram(own, stranger.addr(), text(name))), ethernet(far, mac, unix.ETH_P_ARP, arp(1, mac, own, stranger.addr(), text(name))))
	name = "VLAN"
	add(name, ethernet(near, mac, unix.ETH_P_8021Q, vlan(datagram(own, neighbor.addr(), text(name)))), ethernet(broadcast, mac, unix.ETH_P_8021Q, vlan(datagram(own, neighbor.addr(), text(name)))))
	name = "QinQ"
	add(name, ethernet(near, mac, unix.ETH_P_8021AD, append([]byte{0, 7, 0x81, 0}, vlan(datagram(own, neighbor.addr(), text(name)))...)))
	name = "group frames"
	for i := range byte(0x30) {
		group := net.HardwareAddr{0x01, 0x80, 0xc2, 0, 0, i}
		add(name, ethernet(group, mac, 0x88cc, []byte(text(name))), ethernet(group, mac, 0x0027, append([]byte{0x42, 0x42, 3}, text(name)...)),
			ethernet(group, other, unix.ETH_P_IP, datagram(own, gateway, text(name))))
	}
	name = "other protocols"
	for _, kind := range []uint16{0x88cc, 0x8863, 0x8864, 0x8847, 0x88f7, 0x9000, 0x0842, 0x6558} {
		add(name, ethernet(broadcast, mac, kind, []byte(text(name))), ethernet(near, mac, kind, []byte(text(name))))
	}
	name = "DHCP offer"
	add(name, ethernet(near, mac, unix.ETH_P_IP, ipv4(own, neighbor.addr(), unix.IPPROTO_UDP, 0, udp(67, 68, text(name)))),
		ethernet(broadcast, mac, unix.ETH_P_IP, ipv4(own, netip.MustParseAddr("255.255.255.255"), unix.IPPROTO_UDP, 0, udp(67, 68, text(name)))))
	name = "router advertisement"
	add(name, ethernet(multicast, mac, unix.ETH_P_IPV6, ipv6(link, all, 0, icmp6(134, []byte{64, 0, 14, 16, 0, 0, 0, 0, 0, 0, 0, 0}, 1, mac, text(name)))))
	name = "neighbor advertisement"
	add(name, ethernet(multicast, mac, unix.ETH_P_IPV6, ipv6(link, all, 0, icmp6(136, append([]byte{0x20, 0, 0, 0}, netip.MustParseAddr("fe80::1").AsSlice()...), 2, mac, text(name)))))
	name = "IPv6 extension headers"
	for _, n := range []int{1, 8, 60} {
		add(name, ethernet(multicast, mac, unix.ETH_P_IPV6, ipv6(link, all, n, icmp6(134, []byte{64, 0, 14, 16, 0, 0, 0, 0, 0, 0, 0, 0}, 1, mac, text(name)))))
	}
	name = "fragments"
	body := udp(9, 9, text(name)+strings.Repeat("x", 64))
	add(name, ethernet(near, mac, unix.ETH_P_IP, ipv4(stranger.addr(), neighbor.addr(), unix.IPPROTO_UDP, 0x2000, body[:16])),
		ethernet(near, mac, unix.ETH_P_IP, ipv4(stranger.addr(), neighbor.addr(), unix.IPPROTO_UDP, 2, body[16:])),
		ethernet(near, mac, unix.ETH_P_IP, ipv4(gateway, neighbor.addr(), unix.IPPROTO_UDP, 0x2001, []byte(text(name)))))
	name = "tunnels"
	inner := ethernet(far, mac, unix.ETH_P_IP, datagram(own, stranger.addr(), text(name)))
	for _, node := range nodes {
		vxlan, geneve := append([]byte{8, 0, 0, 0, 0, 0, 1, 0}, inner...), append([]byte{0, 0, 0x65, 0x58, 0, 0, 1, 0}, inner...)
		add(name, ethernet(routerMAC(me), mac, unix.ETH_P_IP, ipv4(own, node, unix.IPPROTO_UDP, 0, udp(4789, 4789, string(vxlan)))),
			ethernet(routerMAC(me), mac, unix.ETH_P_IP, ipv4(own, node, unix.IPPROTO_UDP, 0, udp(6081, 6081, string(geneve)))))
	}
	name = "to the node and beyond"
	for _, to := range append(slices.Clone(nodes), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("10.1.1.1"), stranger.addr(), stranger.port.Gateway) {
		for _, hop := range []net.HardwareAddr{routerMAC(me), broadcast, {1, 0, 0x5e, 0, 0, 1}, far} {
			add(name, ethernet(hop, mac, unix.ETH_P_IP, datagram(own, to, text(name))))
		}
	}
	return a
}

// routerMAC is the MAC address of the router in a pod's network.
func routerMAC(p *pod) net.HardwareAddr {
	id := p.port.NetworkID
	return net.HardwareAddr{0x02, 0xff, id[0], id[1], id[2], id[3]}
}

// broadcasts are attacks whose frames may reach pods of the same network.
var broadcasts = []string{"to the node and beyond"}

// ours are the pods of the attacker's tenant.
var ours = []string{"a pod on the same node", "a pod on another node"}

// sightings collects the names of attacks that somebody has seen.
type sightings struct {
	mu   sync.Mutex
	seen map[string]string // by attack: who
}

func (s *sightings) by(who string) func(frame []byte) {
	return func(frame []byte) {
		_, rest, found := bytes.Cut(frame, []byte("attack:"))
		name, _, ended := bytes.Cut(rest, []byte(";"))
		if !found || !ended {
			return
		}
		if slices.Contains(broadcasts, string(name)) && slices.Contains(ours, who) {
			return // a pod may send these to its own network
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if !strings.Contains(s.seen[string(name)], who) {
			s.seen[string(name)] += who + ", "
		}
	}
}

// listen notes what arrives at sockets of a node's own stack: at UDP's ports of the attacks, and at a raw socket.
func (s *sightings) listen(t *testing.T, n *node) {
	t.Helper()
	n.do(func() error {
		for _, port := range []int{9, 68, 4789, 6081} {
			c, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
			if err != nil {
				return fmt.Errorf("port %d: %w", port, err)
			}
			t.Cleanup(func() { _ = c.Close() })
			go func() {
				text := make([]byte, 2000)
				for {
					size, err := c.Read(text)
					if err != nil {
						return
					}
					s.by("the stack of " + n.host.Name)(text[:size])
				}
			}()
		}
		return nil
	})
}

func (l *lab) nbctl(args ...string) string {
	l.t.Helper()
	out, err := exec.CommandContext(l.t.Context(), "../../build/ovn/bin/ovn-nbctl", append([]string{"--db=" + l.stack.NorthboundRemote(), "--timeout=20"}, args...)...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("ovn-nbctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestNoForgedFrameGetsThrough sends what a hostile guest can send. Nobody sees any of it: no pod of the same tenant or of another one, on the same
// node or on others, and no node. Without OVN's defences, most of it is seen, so the test can fail.
func TestNoForgedFrameGetsThrough(t *testing.T) {
	l := start(t, network.Limits{})
	a, b := l.tenant(), l.tenant()
	me, near, remote := a.pod(l.nodes[0], nil), a.pod(l.nodes[0], nil), a.pod(l.nodes[1], nil)
	stranger, elsewhere := b.pod(l.nodes[0], nil), b.pod(l.nodes[2], nil)
	near.serve(t, 80)
	remote.serve(t, 80)
	var addresses []netip.Addr
	for _, n := range l.nodes {
		addresses = append(addresses, n.host.Addr, n.host.Overlay)
	}
	addresses = append(addresses, l.stack.ProviderGateway().Addr())
	s := &sightings{seen: map[string]string{}}
	for who, p := range map[string]*pod{ours[0]: near, ours[1]: remote, "another tenant's pod on the same node": stranger, "another tenant's pod on another node": elsewhere} {
		p.watch(s.by(who))
	}
	for _, n := range l.nodes {
		s.listen(t, n)
	}
	attack := func(neighbor *pod) (all []string) {
		for name, frames := range attacks(me, neighbor, stranger, addresses) {
			all = append(all, name)
			for _, f := range frames {
				me.inject(f)
			}
		}
		return all
	}
	for _, neighbor := range []*pod{near, remote} {
		eventually(t, 5*time.Second, "an ordinary frame arrives", func() error {
			me.inject(ethernet(neighbor.port.MAC, me.port.MAC, unix.ETH_P_IP, datagram(me.addr(), neighbor.addr(), "attack:ordinary;")))
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.seen["ordinary"] == "" {
				return errors.New("nobody has seen it")
			}
			return nil
		})
		attack(neighbor)
	}
	// A dropped frame leaves no sign to wait for; these two show that the frames before them were handled.
	for _, p := range []*pod{near, remote} {
		eventually(t, 5*time.Second, "the network works afterwards", func() error { _, err := me.get(fmt.Sprintf("%s:80", p.addr()), patient); return err })
	}
	time.Sleep(500 * time.Millisecond)
	s.mu.Lock()
	delete(s.seen, "ordinary")
	for name, who := range s.seen {
		t.Errorf("%s: seen by %s", name, who)
	}
	s.seen = map[string]string{}
	s.mu.Unlock()

	// The reconciler would repair this only when something of the tenant changes.
	l.nbctl("lsp-set-port-security", husk.PortName(me.ID, 0))
	l.nbctl("acl-del", "husk-"+me.port.NetworkID.String())
	deadline := time.Now().Add(10 * time.Second)
	for {
		all := attack(near)
		time.Sleep(200 * time.Millisecond)
		s.mu.Lock()
		seen := len(s.seen)
		s.mu.Unlock()
		if seen >= 8 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("without defences, only %v of %d attacks are seen", slices.Sorted(maps.Keys(s.seen)), len(all))
		}
	}
}

// TestBytesAreLimited sends more than a pod may, and receives more.
func TestBytesAreLimited(t *testing.T) {
	const perSecond, size = 1 << 20, 6 << 20
	l := start(t, network.Limits{BytesPerSecond: perSecond})
	a := l.tenant()
	p, other := a.pod(l.nodes[0], nil), a.pod(l.nodes[0], nil)
	must(t, other.do(func() error {
		lis, err := net.Listen("tcp4", ":80")
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = lis.Close() })
		go func() {
			for {
				c, err := lis.Accept()
				if err != nil {
					return
				}
				_, _ = c.Write(make([]byte, size))
				_ = c.Close()
			}
		}()
		return nil
	}))
	must(t, p.do(func() error {
		c, err := net.DialTimeout("tcp4", fmt.Sprintf("%s:80", other.addr()), patient)
		if err != nil {
			return err
		}
		defer c.Close()
		began := time.Now()
		n, err := io.Copy(io.Discard, c)
		took := time.Since(began)
		t.Logf("%d bytes in %s", n, took.Round(time.Millisecond))
		if n != size || took < (size-(2<<20))/perSecond*time.Second {
			t.Errorf("%d bytes took %s, with a limit of %d per second", n, took, perSecond)
		}
		return err
	}))
}

// TestAPodCannotDisturbOthers floods the network with MAC addresses and connections, up to the limits. Others reach each other as before.
func TestAPodCannotDisturbOthers(t *testing.T) {
	const limit = 200
	l := start(t, network.Limits{Connections: limit, BytesPerSecond: 1 << 20})
	a, b := l.tenant(), l.tenant()
	me, victim, other := a.pod(l.nodes[0], nil), a.pod(l.nodes[0], nil), b.pod(l.nodes[0], nil)
	peer := b.pod(l.nodes[0], nil)
	victim.serve(t, 80)
	peer.serve(t, 80)
	for i := range 5000 {
		mac := net.HardwareAddr{2, 8, 0, 0, byte(i >> 8), byte(i)}
		me.inject(ethernet(victim.port.MAC, mac, unix.ETH_P_IP, datagram(me.addr(), victim.addr(), "flood")))
	}
	eventually(t, 10*time.Second, "a pod is reached after a flood of MAC addresses", func() error { _, err := me.get(fmt.Sprintf("%s:80", victim.addr()), patient); return err })
	for i := range 20 * limit {
		me.inject(ethernet(victim.port.MAC, me.port.MAC, unix.ETH_P_IP, ipv4(me.addr(), victim.addr(), unix.IPPROTO_UDP, 0, udp(uint16(1024+i), 9, "flood"))))
	}
	eventually(t, 10*time.Second, "another tenant's connection opens during a flood of connections", func() error { _, err := other.get(fmt.Sprintf("%s:80", peer.addr()), patient); return err })
	entries := 0
	out, err := exec.CommandContext(t.Context(), "../../build/ovn/bin/ovs-appctl", "-t", strings.TrimSuffix(l.nodes[0].host.OVS(), "db.sock")+"vswitchd.ctl", "dpctl/dump-conntrack").CombinedOutput()
	must(t, err)
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "src="+me.addr().String()+",dst="+victim.addr().String()) && strings.Contains(line, "udp") {
			entries++
		}
	}
	// Each connection of two pods has an entry in the zones of both.
	if entries == 0 || entries > 2*limit {
		t.Errorf("the node keeps %d entries for a pod with a limit of %d connections", entries, limit)
	}
	if _, err := os.Stat(l.nodes[0].host.OVS()); err != nil {
		t.Error(err)
	}
}
