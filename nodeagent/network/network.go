// SPDX-License-Identifier: Apache-2.0

// Package network connects the pods on one node. It has a bridge per tenant network and a tap per
// pod. Its nftables rules let a tap send only ARP and IPv4 with the pod's own addresses, separate
// the networks, and let pods reach the public Internet through masquerading. It uses netlink and
// nftables directly and runs no commands.
//
// The rules are a function of the attached ports and the configuration: every change rewrites all
// of Husk's tables in one kernel transaction. Watch restores them if something else changes them.
package network

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Names of Husk's own objects on a node. Interface names have at most 15 characters.
const (
	bridgePrefix = "hkb"
	tapPrefix    = "hkt"
	tableName    = "husk"
)

// Port is a pod's interface in a network.
type Port struct {
	PodID, NetworkID uuid.UUID
	Address          netip.Prefix // the pod's, with the network's prefix length
	Gateway          netip.Addr   // the bridge's own address
	MAC              net.HardwareAddr
}

// Bridge returns the name of the port's bridge.
func (p Port) Bridge() string { return bridgePrefix + shortID(p.NetworkID) }

// Tap returns the name of the port's tap device.
func (p Port) Tap() string { return tapPrefix + shortID(p.PodID) }

func (p Port) equal(o Port) bool {
	return p.NetworkID == o.NetworkID && p.Address == o.Address && p.Gateway == o.Gateway && p.MAC.String() == o.MAC.String()
}

func shortID(id uuid.UUID) string { return strings.ReplaceAll(id.String(), "-", "")[:12] }

// Network holds the ports of this node.
type Network struct {
	cfg Config
	mtu int
	log *slog.Logger

	mu      sync.Mutex
	ports   map[uuid.UUID]Port
	own     []netip.Prefix // the networks of the node's other interfaces
	written fingerprint    // of the rules, when they were last written
	// connections is the part of written that is about the limits of connections.
	connections fingerprint
	restored    atomic.Int64
	broken      atomic.Bool // the kernel's rules differ from those written, and are not restored yet; the taps are down
}

// Config is what the network of a node needs to know.
type Config struct {
	PodRange netip.Prefix // the addresses of all tenants' networks
	Egress   Egress
	Limits   Limits
	Log      *slog.Logger
}

// vxlanOverhead is subtracted from the pods' MTU, so that a network can span nodes later without
// changing its pods (RFC 7348).
const vxlanOverhead = 50

// New prepares the node. It enables forwarding. It also adds a route that discards packets to those
// addresses of the pod range that no network of this node has, because they would otherwise leave
// through the uplink. Rules, bridges and taps of a previous agent stay until this agent knows which
// pods run.
func New(cfg Config) (*Network, error) {
	mtu, err := uplinkMTU()
	if err != nil {
		return nil, err
	}
	n := &Network{cfg: cfg, mtu: mtu - vxlanOverhead, log: cfg.Log, ports: map[uuid.UUID]Port{}}
	if err := writeSysctl("ipv4/ip_forward", "1"); err != nil {
		return nil, fmt.Errorf("enable IPv4 forwarding: %w", err)
	}
	if err := discardUnused(cfg.PodRange); err != nil {
		return nil, err
	}
	return n, nil
}

// discardUnused adds the route that discards packets to addresses that no network of this node has.
func discardUnused(podRange netip.Prefix) error {
	unused := &netlink.Route{
		Dst: &net.IPNet{IP: podRange.Masked().Addr().AsSlice(), Mask: net.CIDRMask(podRange.Bits(), 32)}, Type: unix.RTN_BLACKHOLE, Protocol: routeProtocol,
	}
	if err := netlink.RouteReplace(unused); err != nil {
		return fmt.Errorf("discard packets to unused addresses of %s: %w", podRange, err)
	}
	return nil
}

// routeProtocol marks Husk's routes. Nobody has registered this number in /etc/iproute2/rt_protos.
const routeProtocol = 0x48

func writeSysctl(name, value string) error {
	return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0o644) //nolint:gosec // a sysctl
}

// MTU returns the MTU of the pods' interfaces, in bytes.
func (n *Network) MTU() int { return n.mtu }

// uplinkMTU returns the MTU of the interface of the default route, or Ethernet's if there is no
// default route.
func uplinkMTU() (int, error) {
	const ethernet = 1500
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return 0, fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst != nil && r.Dst.IP != nil && !r.Dst.IP.IsUnspecified() {
			continue
		}
		link, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			return 0, fmt.Errorf("find the interface of the default route: %w", err)
		}
		return min(link.Attrs().MTU, ethernet), nil
	}
	return ethernet, nil
}

// Traffic returns how many bytes a pod has received and sent since its machine was started, as
// counted by its tap device. ok is false if it has no tap.
func (n *Network) Traffic(pod uuid.UUID) (received, sent int64, ok bool, err error) {
	link, err := netlink.LinkByName(Port{PodID: pod}.Tap())
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return 0, 0, false, nil
	}
	if err != nil {
		return 0, 0, false, fmt.Errorf("read the traffic of pod %s: %w", pod, err)
	}
	s := link.Attrs().Statistics
	if s == nil {
		return 0, 0, false, nil
	}
	return int64(s.TxBytes), int64(s.RxBytes), true, nil //nolint:gosec // the tap sends what the pod receives
}

// Attach gives a pod its bridge and its rules. Plug then creates its tap; the tap of a machine that
// runs gets its rules at once.
func (n *Network) Attach(p Port) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if known, ok := n.ports[p.PodID]; ok && known.equal(p) && exists(p.Bridge()) {
		return nil
	}
	return n.attach(p)
}

// Adopt attaches the ports of machines that already run, all in one change of the rules, so that
// none is without rules in between. The taps may be down: the previous agent may have ended while it
// restored the rules.
func (n *Network) Adopt(ports []Port) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.attach(ports...); err != nil {
		return err
	}
	return n.setTaps(true)
}

func (n *Network) attach(ports ...Port) error {
	for _, p := range ports {
		if err := makeBridge(p, n.mtu); err != nil {
			return fmt.Errorf("bridge %s: %w", p.Bridge(), err)
		}
		n.ports[p.PodID] = p
	}
	return n.writeRules()
}

// Detach removes a pod's tap and rules, and its bridge if no other pod uses it.
func (n *Network) Detach(pod uuid.UUID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.ports, pod)
	// The tap may be one that a previous agent created.
	return errors.Join(removeLink(Port{PodID: pod}.Tap()), n.writeRules(), n.removeUnused())
}

// RemoveUnused removes Husk's bridges and taps that neither a port nor a machine uses. An agent
// calls it once it knows what its node should run.
func (n *Network) RemoveUnused() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.removeUnused()
}

// Clear removes all of Husk's bridges, taps, tables and routes.
func Clear() error {
	n := &Network{ports: map[uuid.UUID]Port{}}
	return errors.Join(n.removeUnused(), removeTables(), removeRoutes())
}

func removeRoutes() error {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Type: unix.RTN_BLACKHOLE, Protocol: routeProtocol}, netlink.RT_FILTER_TYPE|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if err := netlink.RouteDel(&r); err != nil {
			return fmt.Errorf("remove route %s: %w", r.Dst, err)
		}
	}
	return nil
}

func exists(name string) bool {
	_, err := netlink.LinkByName(name)
	return err == nil
}

func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}

func makeBridge(p Port, mtu int) error {
	link, err := netlink.LinkByName(p.Bridge())
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = p.Bridge(), mtu
		// A bridge without a fixed MAC address takes the lowest one of its ports, which would
		// change with the pods.
		attrs.HardwareAddr = append(net.HardwareAddr{0x02, 0xff}, p.NetworkID[:4]...)
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !os.IsExist(err) {
			return fmt.Errorf("create it: %w", err)
		}
		link, err = netlink.LinkByName(p.Bridge())
	}
	if err != nil {
		return err
	}
	if err := disableIPv6(p.Bridge()); err != nil {
		return err
	}
	gateway := &net.IPNet{IP: p.Gateway.AsSlice(), Mask: net.CIDRMask(p.Address.Bits(), 32)}
	if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: gateway}); err != nil {
		return fmt.Errorf("give it the address %s: %w", gateway, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set it up: %w", err)
	}
	return nil
}

// disableIPv6 keeps the node from having a link-local address on an interface, and from obeying
// router advertisements there. Pods have only IPv4 for now.
func disableIPv6(name string) error {
	err := writeSysctl("ipv6/conf/"+name+"/disable_ipv6", "1")
	if err != nil && !os.IsNotExist(err) { // a kernel without IPv6
		return fmt.Errorf("disable IPv6 on %s: %w", name, err)
	}
	return nil
}

func (n *Network) removeUnused() error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	used := map[string]bool{}
	for _, p := range n.ports {
		used[p.Bridge()], used[p.Tap()] = true, true
	}
	var failures []error
	plugged := map[int]bool{} // bridges that are in use, even if this agent does not know the pods whose taps they contain
	for _, l := range links {
		a := l.Attrs()
		switch {
		case strings.HasPrefix(a.Name, tapPrefix) && !used[a.Name] && !hasMachine(l):
			failures = append(failures, removeLink(a.Name))
		default:
			plugged[a.MasterIndex] = true
		}
	}
	for _, l := range links {
		a := l.Attrs()
		if l.Type() == "bridge" && strings.HasPrefix(a.Name, bridgePrefix) && !used[a.Name] && !plugged[a.Index] {
			failures = append(failures, removeLink(a.Name))
		}
	}
	return errors.Join(failures...)
}

// hasMachine reports whether a program holds the tap: only then does it have a carrier.
func hasMachine(tap netlink.Link) bool { return tap.Attrs().RawFlags&unix.IFF_LOWER_UP != 0 }

// sorted returns the ports in a fixed order, so that equal ports give equal rules.
func (n *Network) sorted() []Port {
	ports := make([]Port, 0, len(n.ports))
	for _, p := range n.ports {
		ports = append(ports, p)
	}
	slices.SortFunc(ports, func(a, b Port) int { return strings.Compare(a.Tap(), b.Tap()) })
	return ports
}
