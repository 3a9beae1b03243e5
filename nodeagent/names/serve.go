// SPDX-License-Identifier: Apache-2.0

package names

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/google/uuid"
)

// Ports connects name servers with their networks.
type Ports interface {
	// OpenNames connects the name server of a network, instead of one that was connected before.
	OpenNames(ctx context.Context, network uuid.UUID) (net.PacketConn, net.Listener, error)
	// CloseNames removes the connection.
	CloseNames(ctx context.Context, network uuid.UUID) error
}

// serveRetry is how long a server waits before it tries again to listen.
const serveRetry = time.Second

// Keep answers the queries of these networks until ctx ends, and of no others any more. ctx is the same in each call.
func (s *Set) Keep(ctx context.Context, networks map[uuid.UUID]bool, ports Ports) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for network := range networks {
		if s.serving[network] != nil {
			continue
		}
		serving, cancel := context.WithCancel(ctx)
		done, before := make(chan struct{}), s.ending[network]
		s.serving[network] = func() { cancel(); s.ending[network] = done }
		go func() {
			defer close(done)
			defer s.ended(network, done)
			if before != nil { // otherwise its end would remove this one's connection
				<-before
			}
			s.serve(serving, network, ports)
		}()
	}
	for network, end := range s.serving {
		if !networks[network] {
			delete(s.serving, network)
			end()
		}
	}
}

// ended forgets a server that has ended, unless another one has taken its place and is ending too.
func (s *Set) ended(network uuid.UUID, done chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending[network] == done {
		delete(s.ending, network)
	}
}

// serve answers the queries of a network until ctx ends.
func (s *Set) serve(ctx context.Context, network uuid.UUID, ports Ports) {
	for ctx.Err() == nil {
		packets, streams, err := ports.OpenNames(ctx, network)
		if err == nil {
			err = s.Server(network).Serve(ctx, packets, streams)
		}
		if ctx.Err() == nil {
			s.cfg.Log.Warn("pods of a network get no names; retrying", "network", network, "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(serveRetry):
			}
		}
	}
	if err := ports.CloseNames(context.WithoutCancel(ctx), network); err != nil && !errors.Is(err, context.Canceled) {
		s.cfg.Log.Warn("the connection of a name server cannot be removed; the next agent removes it", "network", network, "error", err)
	}
}
