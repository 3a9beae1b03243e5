// SPDX-License-Identifier: Apache-2.0

package networks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"husk/links"
	"husk/server/network"
)

// outsideAddr is the router of the provider network.
var outsideAddr = netip.MustParseAddr("198.18.13.200")

// outside is a host in the provider network, which is its router.
type outside struct {
	ns   string
	addr netip.Addr
}

func (l *lab) outside() *outside {
	l.t.Helper()
	return l.provided("hk-outside", outsideAddr)
}

// provided connects a host with the provider network.
func (l *lab) provided(name string, addr netip.Addr) *outside {
	l.t.Helper()
	bridge := -1
	all, err := links.All()
	must(l.t, err)
	for _, link := range all {
		addrs, err := links.Addresses(link, netlink.FAMILY_V4)
		must(l.t, err)
		for _, a := range addrs {
			if a.IP.Equal(l.stack.ProviderGateway().Addr().AsSlice()) {
				bridge = link.Attrs().Index
			}
		}
	}
	if bridge < 0 {
		l.t.Fatal("no interface has the address of the provider network's router")
	}
	o := &outside{addr: addr}
	ready, end := make(chan error), make(chan struct{})
	go func() { // the namespace lives as long as this thread
		runtime.LockOSThread()
		ready <- func() error {
			ns, err := netns.New()
			if err != nil {
				return err
			}
			defer ns.Close()
			o.ns = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
			return nil
		}()
		<-end
	}()
	must(l.t, <-ready)
	l.t.Cleanup(func() { close(end) })
	home, err := netns.GetFromPath(o.ns)
	must(l.t, err)
	defer home.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = name, bridge
	must(l.t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(home))}))
	link, err := netlink.LinkByName(attrs.Name)
	must(l.t, err)
	l.t.Cleanup(func() { _ = netlink.LinkDel(link) })
	must(l.t, netlink.LinkSetUp(link))
	must(l.t, within(o.ns, func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(eth0, &netlink.Addr{IPNet: &net.IPNet{IP: o.addr.AsSlice(), Mask: net.CIDRMask(24, 32)}}); err != nil {
			return err
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetUp(eth0), netlink.LinkSetUp(lo))
	}))
	return o
}

// serve accepts connections at port 80 and answers with the client's address.
func (o *outside) serve(t *testing.T) {
	t.Helper()
	must(t, within(o.ns, func() error {
		l, err := net.Listen("tcp4", ":80")
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
				_, _ = fmt.Fprintf(c, "outside %s", c.RemoteAddr())
				_ = c.Close()
			}
		}()
		return nil
	}))
}

// TestTheProviderNetworkIsAVLAN reaches a host in a VLAN, by egress and by a floating address. A host without a tag reaches nothing.
func TestTheProviderNetworkIsAVLAN(t *testing.T) {
	const vlan = 42
	l := start(t, network.Limits{}, func(c *network.Config) { c.Provider.VLAN = vlan })
	o, untagged := l.outside(), l.provided("hk-untagged", netip.MustParseAddr("198.18.13.210"))
	must(t, within(o.ns, func() error {
		return o.joinVLAN(t, vlan, netip.PrefixFrom(o.addr, 24), netip.MustParsePrefix("192.88.99.2/32"))
	}))
	o.serve(t)
	tn := l.tenant()
	p := tn.pod(l.nodes[0], nil)
	p.serve(t, 80)
	eventually(t, 15*time.Second, "a host in the VLAN is reached", func() error { _, err := p.get("192.88.99.2:80", patient); return err })
	a := tn.address("web", toPod(p))
	eventually(t, 15*time.Second, "a host in the VLAN reaches a floating address", func() error { return answers(o.get, at(a, 80), o.addr, p) })
	for range 5 {
		if err := closed(untagged.get, at(a, 80)); err != nil {
			t.Errorf("a host outside of the VLAN reaches a floating address: %v", err)
		}
	}
}

// joinVLAN gives the host's addresses to a card in a VLAN. Kernels without VLANs exist, so the test itself adds and removes the tags.
func (o *outside) joinVLAN(t *testing.T, vlan uint16, addrs ...netip.Prefix) error {
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	old, err := links.Addresses(eth0, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, a := range old {
		if err := netlink.AddrDel(eth0, &a); err != nil {
			return err
		}
	}
	card, err := openTap("tagged")
	if err != nil {
		return err
	}
	raw, err := card.SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	err = raw.Control(func(fd uintptr) { refused = unix.IoctlSetInt(int(fd), unix.TUNSETOFFLOAD, 0) }) // checksums must be complete
	if err := errors.Join(err, refused); err != nil {
		return err
	}
	tagged, err := netlink.LinkByName("tagged")
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if err := netlink.AddrAdd(tagged, &netlink.Addr{IPNet: &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), 32)}}); err != nil {
			return err
		}
	}
	network, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	timeout := unix.NsecToTimeval(int64(100 * time.Millisecond))
	// PACKET_VNET_HDR: each frame comes with a header that says whether its checksum is complete.
	if err := errors.Join(unix.SetsockoptInt(network, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1), unix.SetsockoptInt(network, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1), unix.SetsockoptTimeval(network, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.Bind(network, &unix.SockaddrLinklayer{Protocol: unix.ETH_P_ALL << 8, Ifindex: eth0.Attrs().Index}), netlink.SetPromiscOn(eth0), netlink.LinkSetUp(tagged)); err != nil {
		return err
	}
	var carrying sync.WaitGroup
	end := make(chan struct{})
	carrying.Go(func() {
		frame := make([]byte, 70000)
		for {
			n, err := card.Read(frame)
			if err != nil {
				return
			}
			in := frame[vnetHeader:n]
			out := binary.BigEndian.AppendUint16(append(slices.Clone(in[:12]), 0x81, 0), vlan)
			_, _ = unix.Write(network, slices.Concat(make([]byte, vnetHeader), out, in[12:]))
		}
	})
	carrying.Go(func() {
		frame, control := make([]byte, 70000), make([]byte, 100)
		for {
			select {
			case <-end:
				return
			default:
			}
			n, c, _, from, err := unix.Recvmsg(network, frame, control, 0)
			// struct tpacket_auxdata (packet(7)): the kernel has taken the tag out of the frame.
			if sender, ok := from.(*unix.SockaddrLinklayer); err != nil || ok && sender.Pkttype == unix.PACKET_OUTGOING || c < unix.CmsgLen(20) {
				continue
			}
			aux := control[unix.CmsgLen(0):]
			if status, tag := binary.NativeEndian.Uint32(aux), binary.NativeEndian.Uint16(aux[16:]); status&unix.TP_STATUS_VLAN_VALID != 0 && tag&0xfff == vlan {
				_, _ = card.Write(frame[:n])
			}
		}
	})
	t.Cleanup(func() { close(end); _ = card.Close(); carrying.Wait(); _ = unix.Close(network) })
	return nil
}

// TestPodsReachOnlyThePublicInternet connects a pod with addresses that a router outside would reach.
func TestPodsReachOnlyThePublicInternet(t *testing.T) {
	l := start(t, network.Limits{})
	o := l.outside()
	o.serve(t)
	p := l.tenant().pod(l.nodes[0], nil)
	reached := map[string]bool{
		"192.88.99.2": true, "10.77.1.1": true, // public, and allowed by the operator
		"10.66.0.2": false, "172.20.1.1": false, "192.168.7.7": false, "169.254.169.254": false, "100.100.1.1": false, "198.19.0.1": false, "192.0.0.8": false,
		"192.88.99.66": false, "10.77.5.1": false, // denied by the operator, one of them although it is allowed
		l.nodes[0].host.Addr.String(): false, l.nodes[1].host.Overlay.String(): false,
	}
	must(t, within(o.ns, func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		for a := range reached {
			if err := netlink.AddrAdd(eth0, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(a), Mask: net.CIDRMask(32, 32)}}); err != nil {
				return err
			}
		}
		return nil
	}))
	eventually(t, 10*time.Second, "a public address is reached", func() error { _, err := p.get("192.88.99.2:80", patient); return err })
	for a, want := range reached {
		limit := impatient
		if want {
			limit = patient
		}
		if _, err := p.get(a+":80", limit); (err == nil) != want {
			t.Errorf("reaching %s: %v, want it to be reached: %t", a, err, want)
		}
	}
}

// TestFramesToGroupsReachNothingOutside sends packets to private addresses in frames that are not addressed to the router, but to groups to which it
// belongs. The rules about what pods reach apply to those, too.
func TestFramesToGroupsReachNothingOutside(t *testing.T) {
	l := start(t, network.Limits{})
	o := l.outside()
	o.serve(t)
	p := l.tenant().pod(l.nodes[0], nil)
	open, private := netip.MustParseAddr("192.88.99.2"), netip.MustParseAddr("10.66.0.2")
	o.add(t, open)
	o.add(t, private)
	var packets net.PacketConn
	must(t, within(o.ns, func() (err error) {
		packets, err = net.ListenPacket("udp4", ":9999")
		return err
	}))
	t.Cleanup(func() { _ = packets.Close() })
	arrives := func(limit time.Duration) (text string) {
		buf := make([]byte, 100)
		_ = packets.SetReadDeadline(time.Now().Add(limit))
		n, _, err := packets.ReadFrom(buf)
		if err != nil {
			return ""
		}
		return string(buf[:n])
	}
	send := func(to string, at netip.Addr, text string) {
		mac, err := net.ParseMAC(to)
		must(t, err)
		p.inject(ethernet(mac, p.port.MAC, 0x0800, ipv4(p.addr(), at, 17, 0, udp(4000, 9999, text))))
	}
	eventually(t, 10*time.Second, "a public address is reached", func() error { _, err := p.get(open.String()+":80", patient); return err })
	router := net.HardwareAddr{0x02, 0xff, p.port.NetworkID[0], p.port.NetworkID[1], p.port.NetworkID[2], p.port.NetworkID[3]}.String()
	send(router, open, "control")
	if got := arrives(patient); got != "control" {
		t.Fatalf("a packet to the router arrives as %q", got)
	}
	for _, group := range []string{router, "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "01:00:5e:7f:00:05", "33:33:00:00:00:01", "01:80:c2:00:00:21", "03:00:00:00:00:01"} {
		send(group, private, group)
	}
	for got := arrives(2 * time.Second); got != ""; got = arrives(time.Second) {
		t.Errorf("a packet in a frame to %s reaches a private address", got)
	}
}

// TestPodsReachOthersThroughAGateway connects pods with a host outside. The host sees the address of the tenant's network. It reaches no pod by itself,
// whatever it sends. When the gateway loses its power, another one takes over.
func TestPodsReachOthersThroughAGateway(t *testing.T) {
	l := start(t, network.Limits{})
	o := l.outside()
	o.serve(t)
	a, b := l.tenant(), l.tenant()
	at := netip.AddrPortFrom(o.addr, 80).String()
	seen := map[string]bool{}
	var pods []*pod
	for _, tn := range []*tenant{a, b} {
		for _, n := range l.nodes[:2] {
			p := tn.pod(n, nil)
			p.serve(t, 80)
			pods = append(pods, p)
			eventually(t, 10*time.Second, "the host outside is reached", func() error {
				answer, err := p.get(at, patient)
				if err == nil {
					seen[strings.Split(strings.TrimPrefix(answer, "outside "), ":")[0]+" of "+tn.id.String()] = true
				}
				return err
			})
		}
	}
	if len(seen) != 2 {
		t.Errorf("two tenants are seen as %v, want one address each", seen)
	}

	// The host outside knows the tenant's router, and tries to send through it to a pod.
	var outer net.IP
	for who := range seen {
		if strings.HasSuffix(who, a.id.String()) {
			outer = net.ParseIP(strings.Split(who, " ")[0])
		}
	}
	victim := pods[0]
	s := &sightings{seen: map[string]string{}}
	victim.watch(s.by("the pod"))
	must(t, within(o.ns, func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		neighbor := net.IPNet{IP: victim.addr().AsSlice(), Mask: net.CIDRMask(32, 32)}
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Dst: &neighbor, Gw: outer}); err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, from := range []netip.Addr{o.addr, pods[1].addr(), victim.port.Gateway, netip.MustParseAddr("169.254.64.1"), netip.MustParseAddr("8.8.8.8")} {
			for range 3 { // the first packet may wait for ARP
				if err := unix.Sendto(fd, datagram(from, victim.addr(), "attack:from outside as "+from.String()+";"), 0, &unix.SockaddrInet4{Addr: victim.addr().As4()}); err != nil {
					return err
				}
				time.Sleep(50 * time.Millisecond)
			}
		}
		return nil
	}))
	time.Sleep(300 * time.Millisecond)
	s.mu.Lock()
	for name := range s.seen {
		t.Errorf("a packet reaches a pod %s", name)
	}
	s.mu.Unlock()

	// The pod's node survives, and its gateway does not.
	gateway := l.gatewayOf(a)
	var p *pod
	for _, candidate := range pods {
		if candidate.tenant == a && candidate.node != gateway {
			p = candidate
		}
	}
	must(t, gateway.host.Kill())
	killed := time.Now()
	eventually(t, 20*time.Second, "the host outside is reached through another gateway", func() error { _, err := p.get(at, 300*time.Millisecond); return err })
	outage := time.Since(killed)
	t.Logf("without a gateway for %s", outage.Round(10*time.Millisecond))
}

// gatewayOf returns the node through which a tenant's packets pass.
func (l *lab) gatewayOf(tn *tenant) *node {
	l.t.Helper()
	group := l.nbctl("--bare", "get", "Logical_Router_Port", "husk-"+tn.id.String()+"-outer", "ha_chassis_group")
	name := l.nbctl("--bare", "get", "HA_Chassis_Group", group, "name")
	for _, n := range l.nodes {
		if strings.HasSuffix(name, n.id.String()) {
			return n
		}
	}
	l.t.Fatalf("no node belongs to %s", name)
	return nil
}
