// SPDX-License-Identifier: Apache-2.0

package held

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// DefaultConnections is how many connections a client address can have if the operator sets no other limit.
const DefaultConnections = 1000

// Listen returns a listener that closes new connections of an address that has this many already. IPv6 addresses count by /64, which is
// what one customer gets. Connections of proxies are not limited.
func Listen(l net.Listener, most int, proxies []netip.Prefix) net.Listener {
	return &listener{Listener: l, most: most, proxies: proxies, open: map[netip.Prefix]int{}}
}

type listener struct {
	net.Listener
	most    int
	proxies []netip.Prefix

	mu   sync.Mutex
	open map[netip.Prefix]int
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		release, ok := l.take(c.RemoteAddr())
		if ok {
			return &conn{c, release}, nil
		}
		_ = c.Close() //nolint:errcheck // there is nobody to tell
	}
}

func (l *listener) take(remote net.Addr) (release func(), ok bool) {
	peer, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return func() {}, true
	}
	from := peer.Addr().Unmap().WithZone("")
	if slices.ContainsFunc(l.proxies, func(p netip.Prefix) bool { return p.Contains(from) }) {
		return func() {}, true
	}
	bits := 64
	if from.Is4() {
		bits = 32
	}
	client := netip.PrefixFrom(from, bits).Masked()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[client] >= l.most {
		return nil, false
	}
	l.open[client]++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.open[client]--; l.open[client] == 0 {
			delete(l.open, client)
		}
	}), true
}

type conn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.release()
	return c.Conn.Close()
}
