// SPDX-License-Identifier: Apache-2.0

package names

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// loopback connects name servers on loopback, and counts those that are connected.
type loopback struct {
	mu        sync.Mutex
	connected int
	closing   chan struct{} // CloseNames waits for it
}

func (l *loopback) OpenNames(context.Context, uuid.UUID) (net.PacketConn, net.Listener, error) {
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	streams, err := net.Listen("tcp4", "127.0.0.1:0")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connected++
	return packets, streams, err
}

func (l *loopback) CloseNames(context.Context, uuid.UUID) error {
	<-l.closing
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connected--
	return nil
}

func (l *loopback) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.connected
}

// TestANetworkThatReturnsKeepsItsConnection takes the last pod of a network away and adds another one before the name server has ended.
func TestANetworkThatReturnsKeepsItsConnection(t *testing.T) {
	s, err := Open(t.TempDir(), Config{Forwarder: ForwarderTo(nil), Metrics: NewMetrics(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ports := &loopback{closing: make(chan struct{})}
	network := uuid.New()
	await := func(what string, want int) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ports.count() != want; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d servers are connected, want %d", what, ports.count(), want)
			}
		}
	}
	s.Keep(ctx, map[uuid.UUID]bool{network: true}, ports)
	await("at first", 1)
	s.Keep(ctx, nil, ports)
	s.Keep(ctx, map[uuid.UUID]bool{network: true}, ports)
	time.Sleep(100 * time.Millisecond) // a second server that did not wait would connect now
	if n := ports.count(); n != 1 {
		t.Errorf("%d servers are connected while the first one ends", n)
	}
	close(ports.closing)
	await("after the first one has ended", 1)
	time.Sleep(100 * time.Millisecond) // the end of the first one must not remove the second
	await("later", 1)
	cancel()
	await("at the end", 0)
}
