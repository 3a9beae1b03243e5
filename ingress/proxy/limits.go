// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net"
	"net/netip"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"husk/server/held"
)

// use counts what tenants and clients use, so that one of them cannot use everything.
type use struct {
	limits Limits

	mu      sync.Mutex
	tenants map[uuid.UUID]*tenantUse
}

type tenantUse struct {
	requests int
	clients  map[netip.Prefix]int // requests under way
	rate     *rate.Limiter
}

func newUse(limits Limits) *use { return &use{limits: limits, tenants: map[uuid.UUID]*tenantUse{}} }

// enter counts a request. why says which limit is exceeded.
func (u *use) enter(tenant uuid.UUID, client netip.Prefix) (leave func(), why string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	t := u.tenants[tenant]
	if t == nil {
		t = &tenantUse{clients: map[netip.Prefix]int{}, rate: rate.NewLimiter(rate.Limit(u.limits.RequestsPerSecond), 2*u.limits.RequestsPerSecond)}
		u.tenants[tenant] = t
	}
	switch {
	case t.requests >= u.limits.Requests:
		return nil, "too many requests of the tenant are under way"
	case t.clients[client] >= u.limits.RequestsPerAddress:
		return nil, "too many requests of the client are under way"
	case !t.rate.Allow():
		return nil, "the tenant gets too many requests per second"
	}
	t.requests++
	t.clients[client]++
	return sync.OnceFunc(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		t.requests--
		if t.clients[client]--; t.clients[client] == 0 {
			delete(t.clients, client)
		}
	}), ""
}

// forget drops tenants that no request has used for a while. Their rate is unlimited again then, which is what it would be anyway.
func (u *use) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, t := range u.tenants {
		if t.requests == 0 && t.rate.Tokens() >= float64(t.rate.Burst()) {
			delete(u.tenants, id)
		}
	}
}

// underWay returns how many requests there are.
func (u *use) underWay() (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, t := range u.tenants {
		n += t.requests
	}
	return n
}

// customer returns what one customer has of a client's network: an address of IPv4, or a /64 of IPv6.
func customer(remote string) netip.Prefix {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	a := peer.Addr().Unmap().WithZone("")
	if a.Is4() {
		return netip.PrefixFrom(a, 32)
	}
	return netip.PrefixFrom(a, 64).Masked()
}

// listenerWrapper limits the connections of each client.
type listenerWrapper struct{}

// CaddyModule implements caddy.Module.
func (listenerWrapper) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.husk", New: func() caddy.Module { return new(listenerWrapper) }}
}

// WrapListener implements caddy.ListenerWrapper.
func (listenerWrapper) WrapListener(l net.Listener) net.Listener {
	return held.Listen(l, running.Load().Limits.ConnectionsPerAddress, nil)
}
