// SPDX-License-Identifier: Apache-2.0

// Package links reads the kernel's lists of interfaces, addresses and routes.
package links

import (
	"errors"
	"time"

	"github.com/vishvananda/netlink"
)

// All returns the interfaces of this network namespace.
func All() ([]netlink.Link, error) { return whole(netlink.LinkList) }

// Addresses returns the addresses of an interface, or of all interfaces if link is nil. The family is one of netlink.FAMILY_*.
func Addresses(link netlink.Link, family int) ([]netlink.Addr, error) {
	return whole(func() ([]netlink.Addr, error) { return netlink.AddrList(link, family) })
}

// Routes returns the routes that equal filter in the fields that mask names (netlink.RT_FILTER_*).
func Routes(family int, filter *netlink.Route, mask uint64) ([]netlink.Route, error) {
	return whole(func() ([]netlink.Route, error) { return netlink.RouteListFiltered(family, filter, mask) })
}

// whole reads a list again if it has changed meanwhile: the kernel then says that entries may be missing. A machine that creates or removes many
// interfaces at once changes the list for some milliseconds.
func whole[T any](list func() ([]T, error)) (all []T, err error) {
	const tries = 20
	for try := range tries {
		time.Sleep(time.Duration(try) * time.Millisecond)
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}
