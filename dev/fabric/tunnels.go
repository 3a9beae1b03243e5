// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
)

// TunnelInterface is the name of a node's second interface on the fabric, in the node. It has no address, because it becomes a port of a bridge
// of Open vSwitch: in its userspace datapath, the address of tunnels must be on such a bridge. All other traffic of the node passes eth0 and no
// vswitch.
const TunnelInterface = "under0"

// ConnectTunnels gives a host its TunnelInterface.
func (f *Fabric) ConnectTunnels(host string, n Network) error {
	err := connect(f.bridge, f.tunnelPort(host), TunnelInterface, nil, n)
	if err == nil {
		err = n.Do(func() error { return bareUp(TunnelInterface) })
	}
	if err != nil {
		return fmt.Errorf("connect the tunnels of host %s: %w", host, err)
	}
	return nil
}

func (f *Fabric) tunnelPort(host string) string { return tunnelPrefix + f.id() + "-" + host }

// bareUp sets an interface up that only Open vSwitch uses. The kernel must not answer ARP there: it would do so for the addresses of all other
// interfaces, too.
func bareUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = errors.Join(netlink.LinkSetARPOff(link), netlink.LinkSetIP6AddrGenMode(link, nl.IN6_ADDR_GEN_MODE_NONE))
	}
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("set up interface %s: %w", name, err)
	}
	return nil
}

// SetAddress sets an interface of the calling thread's network up with an address. It changes nothing if that is so already.
func SetAddress(name string, addr netip.Addr, in netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.AddrReplace(link, address(addr, in))
	}
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("address %s of interface %s: %w", addr, name, err)
	}
	return nil
}
