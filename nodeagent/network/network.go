// SPDX-License-Identifier: Apache-2.0

// Package network connects the pods on one node. It has a bridge per tenant network. Its nftables
// rules restrict each tap to its own MAC and IP address, separate the networks, and let pods reach
// outside through masquerading. It uses netlink and nftables directly and runs no commands.
//
// The rules are a function of the attached ports: every change rewrites both tables in one atomic
// batch.
package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/vishvananda/netlink"
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

// Tap returns the name of the port's tap device. libvirt creates and removes it.
func (p Port) Tap() string { return tapPrefix + shortID(p.PodID) }

func (p Port) equal(o Port) bool {
	return p.NetworkID == o.NetworkID && p.Address == o.Address && p.Gateway == o.Gateway && p.MAC.String() == o.MAC.String()
}

func shortID(id uuid.UUID) string { return strings.ReplaceAll(id.String(), "-", "")[:12] }

// Network holds the ports of this node.
type Network struct {
	podRange netip.Prefix
	mtu      int

	mu    sync.Mutex
	ports map[uuid.UUID]Port
}

// vxlanOverhead is subtracted from the pods' MTU, so that a network can span nodes later without
// changing its pods (RFC 7348).
const vxlanOverhead = 50

// New prepares the node: it enables forwarding. Rules and bridges of a previous agent stay until it
// is known what runs.
func New(podRange netip.Prefix) (*Network, error) {
	mtu, err := uplinkMTU()
	if err != nil {
		return nil, err
	}
	n := &Network{podRange: podRange, mtu: mtu - vxlanOverhead, ports: map[uuid.UUID]Port{}}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil { //nolint:gosec // a sysctl
		return nil, fmt.Errorf("enable IPv4 forwarding: %w", err)
	}
	return n, nil
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

// Attach adds the port's bridge and rules before the tap exists. So a pod can never send without
// them.
func (n *Network) Attach(p Port) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if known, ok := n.ports[p.PodID]; ok && known.equal(p) && bridgeExists(p.Bridge()) {
		return nil
	}
	return n.attach(p)
}

// Adopt attaches the ports of machines that already run, all in one change of the rules, so that
// none is without rules in between.
func (n *Network) Adopt(ports []Port) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.attach(ports...)
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

// Detach removes a pod's rules, and its bridge if no other pod uses it.
func (n *Network) Detach(pod uuid.UUID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.ports[pod]; !ok {
		return nil
	}
	delete(n.ports, pod)
	return errors.Join(n.writeRules(), n.removeUnusedBridges())
}

// RemoveUnused removes Husk's bridges that no port uses. An agent calls it once it knows what its
// node should run.
func (n *Network) RemoveUnused() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.removeUnusedBridges()
}

// Clear removes all of Husk's bridges and tables.
func Clear() error {
	n := &Network{ports: map[uuid.UUID]Port{}}
	return errors.Join(n.removeUnusedBridges(), removeTables())
}

func bridgeExists(name string) bool {
	_, err := netlink.LinkByName(name)
	return err == nil
}

func makeBridge(p Port, mtu int) error {
	link, err := netlink.LinkByName(p.Bridge())
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = p.Bridge(), mtu
		// A fixed MAC: a bridge without one takes that of its lowest port, which would change with
		// the pods.
		attrs.HardwareAddr = append(net.HardwareAddr{0x02, 0xff}, p.NetworkID[:4]...)
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !os.IsExist(err) {
			return fmt.Errorf("create it: %w", err)
		}
		link, err = netlink.LinkByName(p.Bridge())
	}
	if err != nil {
		return err
	}
	// Pods have only IPv4 for now. The node must not be reachable at a link-local address that no
	// rule covers.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+p.Bridge()+"/disable_ipv6", []byte("1"), 0o644); err != nil && !os.IsNotExist(err) { //nolint:gosec // a sysctl
		return fmt.Errorf("disable IPv6: %w", err)
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

func (n *Network) removeUnusedBridges() error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	used := map[string]bool{}
	for _, p := range n.ports {
		used[p.Bridge()] = true
	}
	plugged := map[int]bool{} // a bridge that contains a tap has a machine, known or not
	for _, l := range links {
		plugged[l.Attrs().MasterIndex] = true
	}
	var failures []error
	for _, l := range links {
		name := l.Attrs().Name
		if l.Type() != "bridge" || !strings.HasPrefix(name, bridgePrefix) || used[name] || plugged[l.Attrs().Index] {
			continue
		}
		if err := netlink.LinkDel(l); err != nil {
			failures = append(failures, fmt.Errorf("remove bridge %s: %w", name, err))
		}
	}
	return errors.Join(failures...)
}

// sorted returns the ports in a fixed order, so that equal ports give equal rules.
func (n *Network) sorted() []Port {
	ports := make([]Port, 0, len(n.ports))
	for _, p := range n.ports {
		ports = append(ports, p)
	}
	slices.SortFunc(ports, func(a, b Port) int { return strings.Compare(a.Tap(), b.Tap()) })
	return ports
}
