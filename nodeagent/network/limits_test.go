// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// received returns how many packets and bytes the machine's interface has received.
func (m machine) received(t *testing.T) (packets, bytes int) {
	t.Helper()
	err := m.do(t, func() error {
		card, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		packets, bytes = int(card.Attrs().Statistics.RxPackets), int(card.Attrs().Statistics.RxBytes)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return packets, bytes
}

// TestAPodCannotFloodItsNode sends far more than the limits at once, from a pod and to a pod.
func TestAPodCannotFloodItsNode(t *testing.T) {
	const count, size = 20_000, 1000
	for _, c := range []struct {
		name    string
		limits  Limits
		limited bool
	}{
		{"no limits", Limits{}, false},
		{"packets", Limits{PacketsPerSecond: 1000}, true},
		{"bytes", Limits{BytesPerSecond: 1 << 20}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inNamespace(t)
			n := startWith(t, Egress{}, c.limits)
			network := uuid.New()
			from, to := boot(t, n, network, "100.64.0.0/24", 2), boot(t, n, network, "100.64.0.0/24", 3)
			text := strings.Repeat("x", size)
			check := func(who string, flood func()) {
				t.Helper()
				packetsBefore, bytesBefore := to.received(t)
				began := time.Now()
				flood()
				time.Sleep(50 * time.Millisecond) // the kernel delivers later
				took := time.Since(began).Seconds()
				packets, bytes := to.received(t)
				packets, bytes = packets-packetsBefore, bytes-bytesBefore
				const slack = 1.2
				most := float64(c.limits.PacketsPerSecond)*(took+1.0/burstShare)*slack + 100
				mostBytes := float64(c.limits.BytesPerSecond)*took*slack + 2*minBurstBytes
				switch {
				case !c.limited && packets < count/2:
					t.Errorf("%s: without limits, only %d of %d packets arrive", who, packets, count)
				case c.limits.PacketsPerSecond > 0 && float64(packets) > most, c.limits.BytesPerSecond > 0 && float64(bytes) > mostBytes:
					t.Errorf("%s: %d packets and %d bytes arrive in %.2f s, want at most %.0f packets or %.0f bytes", who, packets, bytes, took, most, mostBytes)
				case c.limited && packets < 20: // the kernel drops some itself
					t.Errorf("%s: only %d packets arrive", who, packets)
				}
			}
			frame := ethernet(to.port.MAC, from.port.MAC, unix.ETH_P_IP, datagram(from.port.Address.Addr(), to.port.Address.Addr(), text[:200]))
			frame = append(frame, text...) // trailing bytes count too
			frames := make([][]byte, count)
			for i := range frames {
				frames[i] = frame
			}
			check("from another pod", func() { from.send(t, frames...) })
			time.Sleep(time.Second / burstShare)
			check("from the node", func() {
				conn, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: to.port.Address.Addr().AsSlice(), Port: 9})
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close() //nolint:errcheck // everything is sent
				for range count {
					_, _ = conn.Write([]byte(text)) //nolint:errcheck // the pod refuses them
				}
			})
		})
	}
}

// TestAPodCannotFillTheTableOfConnections opens more connections than a pod can have: to the Internet, and to its gateway.
func TestAPodCannotFillTheTableOfConnections(t *testing.T) {
	const limit, tries = 50, 500
	inNamespace(t)
	n := startWith(t, Egress{}, Limits{Connections: limit})
	m, other := boot(t, n, uuid.New(), "100.64.0.0/24", 2), boot(t, n, uuid.New(), "100.64.1.0/24", 2)
	outside(t, "8.8.8.8")
	bridge, err := net.InterfaceByName(m.port.Bridge())
	if err != nil {
		t.Fatal(err)
	}
	flood := func() {
		var frames [][]byte
		for port := range uint16(tries) {
			packet := datagram(m.port.Address.Addr(), netip.MustParseAddr("8.8.8.8"), "x")
			binary.BigEndian.PutUint16(packet[20:], 1000+port)
			echo := []byte{8, 0, 0, 0, byte(port >> 8), byte(port), 0, 0}
			binary.BigEndian.PutUint16(echo[2:], ^(0x0800 + port))
			ping := datagram(m.port.Address.Addr(), m.port.Gateway, "")
			ping = icmp(ping[:20], echo)
			frames = append(frames, ethernet(bridge.HardwareAddr, m.port.MAC, unix.ETH_P_IP, packet), ethernet(bridge.HardwareAddr, m.port.MAC, unix.ETH_P_IP, ping))
		}
		m.send(t, frames...)
		time.Sleep(50 * time.Millisecond) // the kernel delivers later
	}
	flood()
	if got := connections(t, m); got > limit || got < limit/2 {
		t.Errorf("a pod has %d connections, want at most %d", got, limit)
	}
	boot(t, n, uuid.New(), "100.64.2.0/24", 2) // the rules are written again
	flood()
	if got := connections(t, m); got > limit {
		t.Errorf("after another pod has started, a pod has %d connections, want at most %d", got, limit)
	}
	if err := other.do(t, func() error { return reach("", netip.MustParseAddr("8.8.8.8"), patient) }); err != nil {
		t.Errorf("another pod does not reach the Internet: %v", err)
	}
}

// icmp replaces the payload of an IPv4 packet, whose header this is.
func icmp(header, payload []byte) []byte {
	binary.BigEndian.PutUint16(header[2:], uint16(len(header)+len(payload))) //nolint:gosec // small
	header[9], header[10], header[11] = unix.IPPROTO_ICMP, 0, 0
	var sum uint32
	for i := 0; i < len(header); i += 2 {
		sum += uint32(header[i])<<8 | uint32(header[i+1])
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(header[10:], ^uint16(sum+sum>>16)) //nolint:gosec // folded
	return append(header, payload...)
}

// connections counts the entries of the node's table of connections that are from this machine.
func connections(t *testing.T, m machine) int {
	t.Helper()
	flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range flows {
		if f.Forward.SrcIP.Equal(m.port.Address.Addr().AsSlice()) {
			n++
		}
	}
	return n
}

// TestAPodCannotFillTheTableOfNeighbors sends packets for all addresses of its network to the gateway, which would forward them.
func TestAPodCannotFillTheTableOfNeighbors(t *testing.T) {
	inNamespace(t)
	n := start(t, Egress{})
	network := uuid.New()
	m, other := boot(t, n, network, "100.64.0.0/24", 2), boot(t, n, network, "100.64.0.0/24", 3)
	bridge, err := netlink.LinkByName(m.port.Bridge())
	if err != nil {
		t.Fatal(err)
	}
	var frames [][]byte
	for host := range 255 {
		to := netip.AddrFrom4([4]byte{100, 64, 0, byte(host)})
		frames = append(frames, ethernet(bridge.Attrs().HardwareAddr, m.port.MAC, unix.ETH_P_IP, datagram(m.port.Address.Addr(), to, "x")))
	}
	m.send(t, frames...)
	time.Sleep(200 * time.Millisecond) // a dropped frame leaves no sign to wait for
	neighbors, err := netlink.NeighList(bridge.Attrs().Index, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range neighbors {
		if !one.IP.IsMulticast() && !one.IP.Equal(m.port.Address.Addr().AsSlice()) && !one.IP.Equal(other.port.Address.Addr().AsSlice()) {
			t.Errorf("the node has asked for the MAC address of %s, which no pod has (%d neighbors)", one.IP, len(neighbors))
			break
		}
	}
}
