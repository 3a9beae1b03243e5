// SPDX-License-Identifier: Apache-2.0

// Package fabric is the network that connects the hosts of a fleet: a bridge on this machine, with a
// port for each host. The services that run on this machine itself, such as Ceph, have addresses on
// the bridge. Nothing routes from the fabric to other networks.
//
// A node has a second port, for the tunnels between pods (tunnels.go). A provider network is what is
// outside of tenants' networks (provider.go).
//
// Cut drops packets between a host and others, at the bridges (cut.go). So a host cannot tell a cut
// from a broken switch.
package fabric

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"husk/links"
)

// Fabric is a bridge that exists.
type Fabric struct {
	bridge string
	prefix netip.Prefix

	mu   sync.Mutex
	cuts map[string][]Cut // by host
}

// The names of all interfaces on this machine begin with one of these and the id of the stack.
const (
	bridgePrefix   = "hkf"
	tunnelPrefix   = "hko"
	providerPrefix = "hkp"
)

// Network is the namespace of a host.
type Network interface {
	PID() int
	Do(f func() error) error // on a thread in the namespace
}

// Owner is the stack that has a fabric or a provider network.
type Owner struct {
	ID       string // part of the names of all interfaces, with at most 6 characters
	StateDir string // recorded at the bridges
}

// New makes the bridge and gives it addresses. A bridge that an earlier process left behind is replaced.
func New(owner Owner, prefix netip.Prefix, addrs ...netip.Addr) (*Fabric, error) {
	id := owner.ID
	f := &Fabric{bridge: bridgePrefix + id, prefix: prefix, cuts: map[string][]Cut{}}
	if err := Remove(id); err != nil {
		return nil, err
	}
	if err := Unused(prefix, "fabric"); err != nil {
		return nil, err
	}
	if err := createBridge(f.bridge, owner, prefix, addrs...); err != nil {
		return nil, errors.Join(fmt.Errorf("bridge %s: %w", f.bridge, err), f.Close())
	}
	return f, nil
}

// Unused returns an error if an interface of this machine has an address in the range already. The error names the flag that selects another
// one.
func Unused(prefix netip.Prefix, flag string) error {
	used, err := machineNetworks()
	if err != nil {
		return err
	}
	for _, p := range used {
		if p.Overlaps(prefix) {
			return fmt.Errorf("this machine uses the network %s already; pass another --%s than %s", p, flag, prefix)
		}
	}
	return nil
}

// machineNetworks returns the IPv4 networks of this machine's interfaces.
func machineNetworks() ([]netip.Prefix, error) {
	addrs, err := links.Addresses(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list the machine's addresses: %w", err)
	}
	var networks []netip.Prefix
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP.To4())
		ones, _ := a.Mask.Size()
		if p, err := ip.Prefix(ones); ok && err == nil {
			networks = append(networks, p.Masked())
		}
	}
	return networks, nil
}

// RemoveAbandoned removes what killed stacks have left: their bridges, with all rules. Their ranges of addresses would be in use, and a gateway would
// go on to forward packets.
func RemoveAbandoned(alive func(stateDir string) bool) error {
	all, err := links.All()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	var failures []error
	for _, l := range all {
		owner, ours := strings.CutPrefix(l.Attrs().Alias, aliasPrefix)
		if !ours || alive(owner) {
			continue
		}
		if id, is := strings.CutPrefix(l.Attrs().Name, bridgePrefix); is {
			failures = append(failures, Remove(id))
		}
		if id, is := strings.CutPrefix(l.Attrs().Name, providerPrefix); is {
			failures = append(failures, RemoveProvider(id))
		}
	}
	return errors.Join(failures...)
}

// aliasPrefix begins the alias of each bridge. The state directory follows.
const aliasPrefix = "husk "

func createBridge(name string, owner Owner, prefix netip.Prefix, addrs ...netip.Addr) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	// Without a fixed MAC address, a bridge takes the lowest one of its ports. Then its address would change with the hosts.
	attrs.HardwareAddr = MAC(addrs[0])
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(bridge); err != nil {
		return err
	}
	if err := netlink.LinkSetAlias(bridge, aliasPrefix+owner.StateDir); err != nil {
		return fmt.Errorf("record its owner: %w", err)
	}
	for _, a := range addrs {
		if err := netlink.AddrAdd(bridge, address(a, prefix)); err != nil {
			return fmt.Errorf("add address %s: %w", a, err)
		}
	}
	return netlink.LinkSetUp(bridge)
}

func address(a netip.Addr, in netip.Prefix) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(in.Bits(), a.BitLen())}}
}

// MAC returns a MAC address that follows from an address, so that a host that was off has the same one again.
func MAC(a netip.Addr) net.HardwareAddr { return append(net.HardwareAddr{0x02, 0xfb}, a.AsSlice()...) }

// Connect gives a host its interface eth0, with an address. The interface ends with the host.
func (f *Fabric) Connect(host string, n Network, addr netip.Addr) error {
	err := connect(f.bridge, f.port(host), "eth0", MAC(addr), n)
	if err == nil {
		err = n.Do(func() error {
			eth0, err := netlink.LinkByName("eth0")
			if err == nil {
				err = netlink.AddrAdd(eth0, address(addr, f.prefix))
			}
			if err == nil {
				err = netlink.LinkSetUp(eth0)
			}
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("connect host %s: %w", host, err)
	}
	return nil
}

// connect adds a port to a bridge of this machine. The other end of the cable is in the network n, or also on this machine if n is nil.
func connect(bridge, port, peer string, peerMAC net.HardwareAddr, n Network) error {
	to, err := netlink.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", bridge, err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = port, to.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: peer, PeerHardwareAddr: peerMAC}
	if n != nil {
		veth.PeerNamespace = netlink.NsPid(n.PID())
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	return netlink.LinkSetUp(veth)
}

// Disconnect removes a host's ports if the kernel has not removed them yet, and its cuts. The kernel removes
// the network of a host that has ended some time later.
func (f *Fabric) Disconnect(host string) error {
	err := f.Heal(host)
	for _, port := range f.ports(host) {
		err = errors.Join(err, removeLink(port))
	}
	return err
}

// port returns the name of a host's port, of at most 15 characters.
func (f *Fabric) port(host string) string { return f.bridge + "-" + host }

// ports returns the names of all ports that a host can have.
func (f *Fabric) ports(host string) []string {
	return []string{f.port(host), f.tunnelPort(host), providerPort(f.id(), host)}
}

func (f *Fabric) id() string { return strings.TrimPrefix(f.bridge, bridgePrefix) }

// Close removes the bridge and the rules.
func (f *Fabric) Close() error { return Remove(f.id()) }

// Remove removes the bridge with this id and its rules, if they exist.
func Remove(id string) error {
	bridge := bridgePrefix + id
	return errors.Join(removeRules("bridge", bridge), removeLinks(bridge), removeLinks(tunnelPrefix+id))
}

// removeLinks removes a bridge and its ports. The kernel keeps the network of a killed host, with its port, while a connection waits for an
// acknowledgement.
func removeLinks(bridge string) error {
	all, err := links.All()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	var failures []error
	for _, l := range all {
		if name := l.Attrs().Name; name == bridge || strings.HasPrefix(name, bridge+"-") {
			failures = append(failures, removeLink(name))
		}
	}
	return errors.Join(failures...)
}

func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	// The kernel may be removing the network of the other end, and the interface with it.
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}
