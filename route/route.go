// SPDX-License-Identifier: Apache-2.0

// Package route asks the kernel how it would send packets.
package route

import (
	"fmt"
	"net"
	"net/netip"
)

// Source returns the IP address that this machine uses towards another, host:port. It sends nothing.
func Source(to string) (netip.Addr, error) {
	conn, err := net.Dial("udp", to)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the address that is used towards %s: %w", to, err)
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	at, err := netip.ParseAddrPort(conn.LocalAddr().String())
	return at.Addr(), err
}
