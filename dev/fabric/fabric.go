// SPDX-License-Identifier: Apache-2.0

// Package fabric is the network that connects the hosts of a fleet: a bridge on this machine, with a
// port for each host. The services that run on this machine itself, such as Ceph, have addresses on
// the bridge. Nothing routes from the fabric to other networks.
//
// Cut drops packets between a host and others, at the bridge (cut.go). So a host cannot tell a cut
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
)

// Fabric is a bridge that exists.
type Fabric struct {
	bridge string
	prefix netip.Prefix

	mu   sync.Mutex
	cuts map[string][]Cut // by host
}

const bridgePrefix = "hkf"

// Network is the namespace of a host.
type Network interface {
	PID() int
	Do(f func() error) error // on a thread in the namespace
}

// New makes the bridge and gives it addresses. The id is part of the names of all interfaces; it has at most 6
// characters. A bridge that an earlier process left behind is replaced.
func New(id string, prefix netip.Prefix, addrs ...netip.Addr) (*Fabric, error) {
	f := &Fabric{bridge: bridgePrefix + id, prefix: prefix, cuts: map[string][]Cut{}}
	if err := Remove(id); err != nil {
		return nil, err
	}
	if err := f.unused(); err != nil {
		return nil, err
	}
	if err := f.create(addrs); err != nil {
		return nil, errors.Join(fmt.Errorf("bridge %s: %w", f.bridge, err), f.Close())
	}
	return f, nil
}

// unused returns an error if an interface of this machine has an address in the range already.
func (f *Fabric) unused() error {
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list the machine's addresses: %w", err)
	}
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP.To4())
		ones, _ := a.Mask.Size()
		if p, err := ip.Prefix(ones); ok && err == nil && p.Overlaps(f.prefix) {
			return fmt.Errorf("this machine uses the network %s already; pass another --fabric than %s", p.Masked(), f.prefix)
		}
	}
	return nil
}

func (f *Fabric) create(addrs []netip.Addr) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = f.bridge
	// Without a fixed MAC address, a bridge takes the lowest one of its ports. Then its address would change with the hosts.
	attrs.HardwareAddr = mac(addrs[0])
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(bridge); err != nil {
		return err
	}
	for _, a := range addrs {
		if err := netlink.AddrAdd(bridge, f.address(a)); err != nil {
			return fmt.Errorf("add address %s: %w", a, err)
		}
	}
	return netlink.LinkSetUp(bridge)
}

func (f *Fabric) address(a netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(f.prefix.Bits(), a.BitLen())}}
}

// mac returns a MAC address that follows from an address, so that a host that was off has the same one again.
func mac(a netip.Addr) net.HardwareAddr { return append(net.HardwareAddr{0x02, 0xfb}, a.AsSlice()...) }

// Connect gives a host its interface eth0, with an address. The interface ends with the host.
func (f *Fabric) Connect(host string, n Network, addr netip.Addr) error {
	bridge, err := netlink.LinkByName(f.bridge)
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", f.bridge, err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = f.port(host), bridge.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsPid(n.PID()), PeerHardwareAddr: mac(addr)}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("connect host %s: %w", host, err)
	}
	if err := netlink.LinkSetUp(veth); err != nil {
		return fmt.Errorf("connect host %s: %w", host, err)
	}
	return n.Do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err == nil {
			err = netlink.AddrAdd(eth0, f.address(addr))
		}
		if err == nil {
			err = netlink.LinkSetUp(eth0)
		}
		if err != nil {
			return fmt.Errorf("connect host %s: %w", host, err)
		}
		return nil
	})
}

// Disconnect removes a host's port if the kernel has not removed it yet, and its cuts. The kernel removes
// the network of a host that has ended some time later.
func (f *Fabric) Disconnect(host string) error {
	return errors.Join(f.Heal(host), removeLink(f.port(host)))
}

// port returns the name of a host's port, of at most 15 characters.
func (f *Fabric) port(host string) string { return f.bridge + "-" + host }

// Close removes the bridge and the rules.
func (f *Fabric) Close() error { return Remove(strings.TrimPrefix(f.bridge, bridgePrefix)) }

// Remove removes the bridge with this id and its rules, if they exist.
func Remove(id string) error {
	bridge := bridgePrefix + id
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	failures := []error{removeRules(bridge)}
	for _, l := range links {
		// The kernel keeps the network of a killed host, with its port, while a connection waits for an acknowledgement.
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
	if err != nil {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}
