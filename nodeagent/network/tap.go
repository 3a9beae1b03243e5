// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Plug creates the taps of ports, for a machine that is about to start, and plugs them in. It replaces taps of a previous machine, so that the
// counters begin at zero.
func (n *Network) Plug(ctx context.Context, ports ...Port) error {
	for _, p := range ports {
		if err := n.plug(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (n *Network) plug(ctx context.Context, p Port) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports[p.Tap()] = p
	if err := n.open(ctx); err != nil {
		return err
	}
	if err := n.removePort(ctx, p.Tap()); err != nil {
		return err
	}
	if err := n.removeCard(p.Tap()); err != nil {
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
	return n.connect(ctx, p)
}

// connect plugs the tap in.
func (n *Network) connect(ctx context.Context, p Port) error {
	tap, err := netlink.LinkByName(p.Tap())
	if err != nil {
		return fmt.Errorf("find tap %s: %w", p.Tap(), err)
	}
	if tap.Attrs().MasterIndex != 0 && n.userspace { // an agent of an earlier version has put it into a bridge
		if err := netlink.LinkSetNoMaster(tap); err != nil {
			return fmt.Errorf("take tap %s out of its bridge: %w", p.Tap(), err)
		}
	}
	if err := netlink.LinkSetMTU(tap, n.mtu); err != nil {
		return fmt.Errorf("set the MTU of tap %s: %w", p.Tap(), err)
	}
	return n.plugIn(ctx, p.Tap(), p.Logical(), p.MAC, podKey, p.PodID)
}

// disableIPv6 keeps the node from having a link-local address on an interface, and from obeying router advertisements there.
func disableIPv6(name string) error {
	err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0o644) //nolint:gosec // a sysctl
	if err != nil && !os.IsNotExist(err) {                                                   // a kernel without IPv6
		return fmt.Errorf("disable IPv6 on %s: %w", name, err)
	}
	return nil
}

// removeCard removes a pod's tap or the card of a name server, with its guard.
func (n *Network) removeCard(name string) error {
	err := unguard(name)
	n.counting.Lock()
	delete(n.outside, name)
	delete(n.outside, name+toPod)
	n.counting.Unlock()
	return errors.Join(err, removeLink(name))
}

func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) { // the kernel has just removed it with a namespace
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}
