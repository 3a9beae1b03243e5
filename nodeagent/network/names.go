// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"

	"github.com/google/uuid"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// The name server of a network is in a namespace of its own on each node, because the ranges of networks may overlap. It is connected by a pair of
// virtual cards. In OVN, its port is a localport: each node has its own, and packets to it never leave the node.

// NamesAddress is where pods reach the name server of their network. It is link-local, so that no network loses an address.
var NamesAddress = netip.MustParseAddr("169.254.64.2")

const (
	namesPrefix = "hkn"
	namesKey    = "husk-names"
	namesPort   = 53
)

// NamesPort returns the name that the port of a network's name server has in OVN, and NamesMAC its MAC address.
func NamesPort(network uuid.UUID) string { return "husk-" + network.String() + "-names" }

// NamesMAC returns the MAC address of a network's name server.
func NamesMAC(network uuid.UUID) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0xfd, network[0], network[1], network[2], network[3]}
}

func namesCard(network uuid.UUID) string { return namesPrefix + shortID(network) }

// OpenNames connects a network's name server, instead of one that was connected before. The namespace lives as long as the sockets.
func (n *Network) OpenNames(ctx context.Context, network uuid.UUID) (net.PacketConn, net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.open(ctx); err != nil {
		return nil, nil, err
	}
	card := namesCard(network)
	if err := errors.Join(n.removePort(ctx, card), n.removeCard(card)); err != nil {
		return nil, nil, err
	}
	n.names[network] = true
	home, err := netns.Get()
	if err != nil {
		return nil, nil, err
	}
	defer home.Close() //nolint:errcheck // it was only read
	var packets net.PacketConn
	var streams net.Listener
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread is in another namespace, and ends with the goroutine
		done <- func() error {
			ns, err := netns.New()
			if err != nil {
				return fmt.Errorf("make a namespace for names: %w", err)
			}
			defer ns.Close() //nolint:errcheck // the sockets hold the namespace
			if err := n.cable(home, ns, card, network); err != nil {
				return err
			}
			packets, streams, err = listenNames(ctx)
			return err
		}()
	}()
	if err := <-done; err != nil {
		return nil, nil, errors.Join(err, n.removeCard(card))
	}
	if err := n.plugIn(ctx, card, NamesPort(network), NamesMAC(network), namesKey, network); err != nil {
		return nil, nil, errors.Join(err, packets.Close(), streams.Close(), n.removeCard(card))
	}
	return packets, streams, nil
}

// cable makes the pair of cards, in the node's namespace and in the current one, ns.
func (n *Network) cable(home, ns netns.NsHandle, card string, network uuid.UUID) error {
	there, err := netlink.NewHandleAt(home)
	if err != nil {
		return err
	}
	defer there.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = card, n.mtu
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerHardwareAddr: NamesMAC(network), PeerNamespace: netlink.NsFd(int(ns))}
	if err := there.LinkAdd(pair); err != nil {
		return fmt.Errorf("connect the name server of network %s: %w", network, err)
	}
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: NamesAddress.AsSlice(), Mask: net.CIDRMask(32, 32)}}
	err = errors.Join(disableIPv6("eth0"), netlink.LinkSetMTU(eth0, n.mtu), netlink.AddrAdd(eth0, address), netlink.LinkSetUp(eth0))
	if err == nil { // all pods are on the link
		err = netlink.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}})
	}
	if err != nil {
		return fmt.Errorf("configure the name server of network %s: %w", network, err)
	}
	return nil
}

func listenNames(ctx context.Context) (net.PacketConn, net.Listener, error) {
	at := netip.AddrPortFrom(NamesAddress, namesPort).String()
	var config net.ListenConfig
	packets, err := config.ListenPacket(ctx, "udp4", at)
	if err != nil {
		return nil, nil, err
	}
	streams, err := config.Listen(ctx, "tcp4", at)
	if err != nil {
		return nil, nil, errors.Join(err, packets.Close())
	}
	return packets, streams, nil
}

// CloseNames removes the connection of a network's name server.
func (n *Network) CloseNames(ctx context.Context, network uuid.UUID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.names, network)
	return errors.Join(n.open(ctx), n.removePort(ctx, namesCard(network)), n.removeCard(namesCard(network)))
}
