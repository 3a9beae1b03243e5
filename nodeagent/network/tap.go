// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// Plug creates the tap of an attached port, for a machine that is about to start. It replaces a tap of a previous machine, so that the
// counters begin at zero. It sets the tap up after the tap has its rules, so a pod can never send without them.
func (n *Network) Plug(p Port) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := removeLink(p.Tap()); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = p.Tap(), n.mtu
	// libvirt opens the tap with these flags and one queue. The kernel would refuse that for a tap with several queues.
	tap := &netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR}
	if err := netlink.LinkAdd(tap); err != nil {
		return fmt.Errorf("create tap %s: %w", p.Tap(), err)
	}
	for _, f := range tap.Fds {
		if err := f.Close(); err != nil {
			return fmt.Errorf("create tap %s: %w", p.Tap(), err)
		}
	}
	return n.connect(p)
}

// connect gives the tap its rules. Then it puts the tap into its bridge and sets it up.
func (n *Network) connect(p Port) error {
	if err := disableIPv6(p.Tap()); err != nil {
		return err
	}
	if err := n.writeRules(); err != nil {
		return err
	}
	tap, err := netlink.LinkByName(p.Tap())
	if err != nil {
		return fmt.Errorf("find tap %s: %w", p.Tap(), err)
	}
	bridge, err := netlink.LinkByName(p.Bridge())
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", p.Bridge(), err)
	}
	if err := netlink.LinkSetMTU(tap, n.mtu); err != nil {
		return fmt.Errorf("set the MTU of tap %s: %w", p.Tap(), err)
	}
	if err := netlink.LinkSetMaster(tap, bridge); err != nil {
		return fmt.Errorf("put tap %s into bridge %s: %w", p.Tap(), p.Bridge(), err)
	}
	if err := netlink.LinkSetUp(tap); err != nil {
		return fmt.Errorf("set tap %s up: %w", p.Tap(), err)
	}
	return nil
}

// setTaps sets the taps of all ports up or down.
func (n *Network) setTaps(up bool) error {
	for _, p := range n.sorted() {
		tap, err := netlink.LinkByName(p.Tap())
		if err != nil {
			continue // its machine has not started
		}
		set := netlink.LinkSetDown
		if up {
			set = netlink.LinkSetUp
		}
		if err := set(tap); err != nil {
			return fmt.Errorf("set tap %s up or down: %w", p.Tap(), err)
		}
	}
	return nil
}
