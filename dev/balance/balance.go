// SPDX-License-Identifier: Apache-2.0

// Package balance passes TCP connections on to one of several servers, as a load balancer does. New
// connections go to the servers that are ready. The connections to a server that does not respond at all are closed, so
// that their clients connect again, to another one.
package balance

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Backend is a server.
type Backend struct {
	Addr string // where connections go
	// Ready and Alive are URLs that respond 200 while the server is ready for connections, and while it runs. Without them, it is always ready.
	Ready, Alive string
}

const (
	checkEvery = 500 * time.Millisecond
	checkTime  = time.Second
	// patience is how many checks in a row must fail. A machine under load may miss one.
	patience = 3
	dialTime = 2 * time.Second
)

// Balancer passes connections on.
type Balancer struct {
	listener net.Listener
	stop     context.CancelFunc
	done     sync.WaitGroup

	mu       sync.Mutex
	next     int
	backends []*backend
}

type backend struct {
	Backend
	ready bool
	conns map[net.Conn]bool
}

// New serves a listener until Close. It takes turns between the servers that respond.
func New(listener net.Listener, backends ...Backend) *Balancer {
	ctx, stop := context.WithCancel(context.Background())
	b := &Balancer{listener: listener, stop: stop}
	for _, c := range backends {
		one := &backend{Backend: c, ready: c.Ready == "", conns: map[net.Conn]bool{}}
		b.backends = append(b.backends, one)
		if c.Ready != "" {
			b.done.Go(func() { b.watch(ctx, one) })
		}
	}
	b.done.Go(func() { b.accept(ctx) })
	return b
}

// Close ends all connections.
func (b *Balancer) Close() error {
	b.stop()
	err := b.listener.Close()
	b.mu.Lock()
	for _, one := range b.backends {
		one.cut()
	}
	b.mu.Unlock()
	b.done.Wait()
	return err
}

// cut closes the connections of a backend. The caller holds the lock.
func (one *backend) cut() {
	for c := range one.conns {
		_ = c.Close()
	}
}

func (b *Balancer) watch(ctx context.Context, one *backend) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: checkTime}
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for unready, dead := 0, 0; ; {
		var ready, alive bool
		var checks sync.WaitGroup // both at the same time, because each may wait for its timeout
		checks.Go(func() { ready = responds(ctx, client, one.Ready) })
		checks.Go(func() { alive = responds(ctx, client, one.Alive) })
		checks.Wait()
		unready, dead = failed(unready, ready), failed(dead, ready || alive)
		b.mu.Lock()
		one.ready = unready == 0 || one.ready && unready < patience
		if dead == patience {
			one.cut()
		}
		b.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// failed returns how often in a row a check has failed.
func failed(before int, ok bool) int {
	if ok {
		return 0
	}
	return before + 1
}

func responds(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

func (b *Balancer) accept(ctx context.Context) {
	for {
		conn, err := b.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // for example, too many open files
			select {
			case <-ctx.Done():
				return
			case <-time.After(checkEvery):
			}
			continue
		}
		b.done.Go(func() { b.serve(ctx, conn) })
	}
}

func (b *Balancer) serve(ctx context.Context, client net.Conn) {
	defer client.Close() //nolint:errcheck // the copies report nothing to anybody
	one, server := b.dial(ctx)
	if server == nil {
		return
	}
	defer server.Close() //nolint:errcheck // as above
	b.mu.Lock()
	one.conns[client], one.conns[server] = true, true
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(one.conns, client)
		delete(one.conns, server)
	}()
	if ctx.Err() != nil { // Close may not have seen the connections
		return
	}
	var copies sync.WaitGroup
	copies.Go(func() { pass(server, client) })
	copies.Go(func() { pass(client, server) })
	copies.Wait()
}

// pass copies until one side ends, and passes the end on.
func pass(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if half, ok := to.(*net.TCPConn); ok && err == nil {
		_ = half.CloseWrite()
		return
	}
	_, _ = to.Close(), from.Close()
}

// dial connects to the backend whose turn it is, or to the next one that responds. If none is ready, they can still say why.
func (b *Balancer) dial(ctx context.Context) (*backend, net.Conn) {
	b.mu.Lock()
	b.next++
	order := slices.Concat(b.backends[b.next%len(b.backends):], b.backends[:b.next%len(b.backends)])
	slices.SortStableFunc(order, func(a, b *backend) int { return rank(a) - rank(b) })
	if rank(order[0]) == 0 {
		order = slices.DeleteFunc(order, func(one *backend) bool { return !one.ready })
	}
	b.mu.Unlock()
	for _, one := range order {
		dialer := net.Dialer{Timeout: dialTime}
		if conn, err := dialer.DialContext(ctx, "tcp", one.Addr); err == nil {
			return one, conn
		}
	}
	return nil, nil
}

func rank(one *backend) int {
	if one.ready {
		return 0
	}
	return 1
}
