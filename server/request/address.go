// SPDX-License-Identifier: Apache-2.0

package request

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// AddressOf returns the address that a request came from. It reads X-Forwarded-For from its end to the first address that is not a trusted
// proxy, because the client may have written anything before that.
func AddressOf(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	at := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(at) }) {
			break
		}
		next, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		at = next.Unmap().WithZone("")
	}
	return at
}
