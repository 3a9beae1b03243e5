// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"husk/links"
)

// removeEarlier removes what agents before OVN have made: a bridge per network, tables of nftables, and routes. The taps of machines that run lose
// their bridge, and are plugged into Open vSwitch by Adopt.
func removeEarlier() error {
	all, err := links.All()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	var failures []error
	for _, l := range all {
		if l.Type() == "bridge" && strings.HasPrefix(l.Attrs().Name, "hkb") {
			failures = append(failures, removeLink(l.Attrs().Name))
		}
	}
	const routeProtocol = 0x48 // of those that discarded packets to unused addresses
	routes, err := links.Routes(netlink.FAMILY_V4, &netlink.Route{Type: unix.RTN_BLACKHOLE, Protocol: routeProtocol}, netlink.RT_FILTER_TYPE|netlink.RT_FILTER_PROTOCOL)
	failures = append(failures, err)
	for _, r := range routes {
		failures = append(failures, netlink.RouteDel(&r))
	}
	return errors.Join(append(failures, removeTables(map[string][]nftables.TableFamily{
		"husk": {nftables.TableFamilyNetdev, nftables.TableFamilyINet, nftables.TableFamilyBridge}, "husk-connections": {nftables.TableFamilyINet},
	}))...)
}

func exists(name string) bool {
	_, err := netlink.LinkByName(name)
	return err == nil
}
