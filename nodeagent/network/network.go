// SPDX-License-Identifier: Apache-2.0

// Package network connects the pods of one node to their networks. The networks are OVN's: its northbound database says what each pod may send and
// where to, and ovn-controller, on each node, makes Open vSwitch do it. This package makes the pods' taps and plugs them into Open vSwitch, under the
// names that their ports have in OVN. It waits until OVN has connected a port before the pod's machine runs.
//
// Until then, and while ovn-controller is away from the start, Open vSwitch passes nothing (fail-mode secure).
//
// It uses netlink, nftables and the protocols of Open vSwitch directly and runs no commands.
package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"husk"
	"husk/links"
	"husk/ovsdb"
)

// tapPrefixes begin the names of pods' taps, by the position of the interface. Interface names have at most 15 characters.
var tapPrefixes = [husk.MaxInterfaces]string{"hkt", "hku", "hkv", "hkw"}

// Port is a pod's interface in a network.
type Port struct {
	PodID, NetworkID uuid.UUID
	Position         int          // among the pod's interfaces; less than husk.MaxInterfaces
	Address          netip.Prefix // the pod's, with the network's prefix length
	Gateway          netip.Addr   // the network's router; invalid if it has none
	Address6         netip.Prefix // invalid: none
	Gateway6         netip.Addr
	MAC              net.HardwareAddr
}

// Tap returns the name of the port's tap device.
func (p Port) Tap() string { return tapPrefixes[p.Position] + shortID(p.PodID) }

// Logical returns the name of the port in OVN.
func (p Port) Logical() string { return husk.PortName(p.PodID, p.Position) }

// taps returns the names of all taps that a pod can have.
func taps(pod uuid.UUID) (names []string) {
	for i := range tapPrefixes {
		names = append(names, Port{PodID: pod, Position: i}.Tap())
	}
	return names
}

func shortID(id uuid.UUID) string { return strings.ReplaceAll(id.String(), "-", "")[:12] }

// Config is what the network of a node needs to know.
type Config struct {
	Node       uuid.UUID
	OVSDB      string     // endpoint of the node's own Open vSwitch database, such as unix:/run/openvswitch/db.sock
	Southbound []string   // endpoints of OVN's southbound database
	Overlay    netip.Addr // the address to which other nodes send pods' packets; invalid: that from which the node reaches the southbound database
	// ProviderBridge is the bridge of Open vSwitch that is connected to the provider network, and ProviderNetwork is that network's name. If the
	// bridge is set, the node is a gateway.
	ProviderNetwork, ProviderBridge string
	TLS                             TLSFiles // for endpoints with ssl:
	Limits                          Limits
	Log                             *slog.Logger
}

// TLSFiles are paths of PEM files: with these, ovn-controller authenticates to the southbound database, and recognizes it.
type TLSFiles struct{ Key, Certificate, Authority string }

// Limits says how many packets per second one pod can receive, and where Open vSwitch runs in the kernel, send. 0 means no limit. The limits of bytes
// and connections are part of OVN's configuration.
type Limits struct {
	PacketsPerSecond int
}

// Check returns why the limits cannot be used.
func (l Limits) Check() error {
	if l.PacketsPerSecond < 0 || l.PacketsPerSecond > 1<<31-1 {
		return errors.New("the limit of packets must be between 0 and 2,147,483,647")
	}
	return nil
}

// Network holds the ports of this node.
type Network struct {
	cfg     Config
	mtu     int
	log     *slog.Logger
	changed chan struct{} // closed and replaced when Open vSwitch's database has changed

	mu        sync.Mutex
	ovs       *ovsdb.Connection
	userspace bool                         // Open vSwitch passes packets itself, instead of the kernel
	ports     map[string]Port              // by tap
	names     map[uuid.UUID]bool           // the networks whose name servers are connected
	inside    map[uuid.UUID][]netip.Prefix // by network, sorted (SetInside)

	tables     []byte // of Open vSwitch, with the flows of security groups; only Counts uses them
	tablesRead time.Time

	counting sync.Mutex
	outside  map[string]counted  // by chain, as it was read last
	spoofed  map[uuid.UUID]int64 // by pod, as it was read last

	notify   sync.Mutex
	restored atomic.Int64
	// Whether the node's own stack could see packets of pods, and whether flows are missing, and that is not repaired yet.
	guardsBroken, flowsBroken atomic.Bool
}

// geneveOverhead is what OVN's encapsulation adds to a packet: outer Ethernet, IPv4, UDP and Geneve headers with OVN's option (RFC 8926).
const geneveOverhead = 58

// New tells the node's OVN who and where it is. Ports and taps of a previous agent stay until this agent knows which pods run.
func New(ctx context.Context, cfg Config) (*Network, error) {
	n := &Network{cfg: cfg, log: cfg.Log, ports: map[string]Port{}, names: map[uuid.UUID]bool{}, inside: map[uuid.UUID][]netip.Prefix{}, outside: map[string]counted{}, changed: make(chan struct{})}
	n.ovs = ovsdb.New(ovsdb.Config{
		Database: "the node's Open vSwitch", Endpoints: []string{cfg.OVSDB}, Model: databaseModel, Monitor: monitor, Connected: n.watchDatabase,
	})
	if !n.cfg.Overlay.IsValid() {
		var err error
		if n.cfg.Overlay, err = ownAddress(cfg.Southbound); err != nil {
			return nil, err
		}
	}
	mtu, err := mtuOf(n.cfg.Overlay)
	if err != nil {
		return nil, err
	}
	n.mtu = mtu - geneveOverhead
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.open(ctx); err != nil {
		return nil, err
	}
	return n, errors.Join(n.configure(ctx), removeEarlier())
}

// Close ends the connection to Open vSwitch. Pods stay connected.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ovs.Close()
}

// Gateway reports whether the node is connected to the provider network.
func (n *Network) Gateway() bool { return n.cfg.ProviderBridge != "" }

// MTU returns the MTU of the pods' interfaces, in bytes.
func (n *Network) MTU() int { return n.mtu }

// ownAddress returns the address from which the node reaches an endpoint.
func ownAddress(endpoints []string) (netip.Addr, error) {
	for _, e := range endpoints {
		_, hostPort, _ := strings.Cut(e, ":")
		peer, err := netip.ParseAddrPort(hostPort)
		if err != nil {
			continue
		}
		routes, err := netlink.RouteGet(peer.Addr().AsSlice())
		if err != nil || len(routes) == 0 {
			continue
		}
		if a, ok := netip.AddrFromSlice(routes[0].Src); ok {
			return a.Unmap(), nil
		}
	}
	return netip.Addr{}, errors.New("the node's address for traffic between nodes is not known; pass it with --overlay-address")
}

// mtuOf returns the MTU of the interface with an address.
func mtuOf(a netip.Addr) (int, error) {
	all, err := links.All()
	if err != nil {
		return 0, fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range all {
		addrs, err := links.Addresses(l, netlink.FAMILY_ALL)
		if err != nil {
			return 0, fmt.Errorf("list the addresses of %s: %w", l.Attrs().Name, err)
		}
		for _, known := range addrs {
			if is, ok := netip.AddrFromSlice(known.IP); ok && is.Unmap() == a {
				return min(l.Attrs().MTU, ethernetMTU), nil
			}
		}
	}
	return 0, fmt.Errorf("no interface of the node has the address %s (--overlay-address)", a)
}

const ethernetMTU = 1500

// Attach makes sure that the taps of machines that run are plugged in. The tap of a machine that does not run is made by Plug.
func (n *Network) Attach(ctx context.Context, ports ...Port) error {
	for _, p := range ports {
		if err := n.attach(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (n *Network) attach(ctx context.Context, p Port) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports[p.Tap()] = p
	return n.adopt(ctx, p)
}

func (n *Network) adopt(ctx context.Context, p Port) error {
	tap, err := netlink.LinkByName(p.Tap())
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find tap %s: %w", p.Tap(), err)
	}
	if err := n.open(ctx); err != nil {
		return err
	}
	inBridge := n.userspace && tap.Attrs().MasterIndex != 0 // of an agent of an earlier version
	if n.hasPort(ctx, p) && !inBridge {
		return n.guard(p.Tap()) // an earlier version may have guarded it in another way
	}
	return n.connect(ctx, p)
}

// Detach removes a pod's ports and taps.
func (n *Network) Detach(ctx context.Context, pod uuid.UUID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	failures := []error{n.open(ctx)}
	for _, tap := range taps(pod) { // they may be some that a previous agent created
		delete(n.ports, tap)
		failures = append(failures, n.removePort(ctx, tap), n.removeCard(tap))
	}
	return errors.Join(failures...)
}

// RemoveUnused removes Husk's taps and their ports that neither a pod nor a machine uses. An agent calls it once it knows what its node should run.
func (n *Network) RemoveUnused(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	all, err := links.All()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	used, exist := map[string]bool{}, map[string]bool{}
	for tap := range n.ports {
		used[tap] = true
	}
	for network := range n.names {
		used[namesCard(network)] = true
	}
	var failures []error
	for _, l := range all {
		name := l.Attrs().Name
		if !isOurs(name) {
			continue
		}
		exist[name] = true
		if !used[name] && (strings.HasPrefix(name, namesPrefix) || !hasMachine(l)) {
			exist[name] = false
			failures = append(failures, n.removeCard(name))
		}
	}
	if err := n.open(ctx); err != nil {
		return errors.Join(append(failures, err)...)
	}
	for _, name := range n.portNames(ctx) {
		if !exist[name] && !used[name] {
			failures = append(failures, n.removePort(ctx, name))
		}
	}
	return errors.Join(failures...)
}

// isOurs reports whether an interface is a pod's tap or the card of a name server.
func isOurs(name string) bool {
	return strings.HasPrefix(name, namesPrefix) || slices.ContainsFunc(tapPrefixes[:], func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// hasMachine reports whether a program holds the tap: only then does it have a carrier.
func hasMachine(tap netlink.Link) bool { return tap.Attrs().RawFlags&unix.IFF_LOWER_UP != 0 }

// Clear removes all of Husk's taps. Their ports in Open vSwitch are removed by the next agent.
func Clear() error {
	all, err := links.All()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	failures := []error{removeGuards(), removeEarlier()}
	for _, l := range all {
		if isOurs(l.Attrs().Name) {
			failures = append(failures, removeLink(l.Attrs().Name))
		}
	}
	return errors.Join(failures...)
}
