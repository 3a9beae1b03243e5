// SPDX-License-Identifier: Apache-2.0

// Package route asks the kernel how it would send packets.
package route

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// Source returns the IP address that this machine uses towards another, host:port. It sends nothing.
func Source(ctx context.Context, to string) (netip.Addr, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", to)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the address that is used towards %s: %w", to, err)
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	at, err := netip.ParseAddrPort(conn.LocalAddr().String())
	return at.Addr(), err
}
