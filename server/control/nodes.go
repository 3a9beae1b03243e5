// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"husk"
	"husk/store"
)

// leases judges heartbeats by this process' own monotonic clock: by the time since it last saw a node's heartbeat change. Every node gets a fresh
// lease when a server starts to lead, so a server never judges by heartbeats from before it led.
type leases struct {
	lease time.Duration
	seen  map[store.ID]heartbeat
}

type heartbeat struct {
	stamp time.Time // from the database; compared for equality only
	moved time.Time // when this process saw it change, on the monotonic clock
}

func newLeases(lease time.Duration) *leases {
	return &leases{lease: lease, seen: map[store.ID]heartbeat{}}
}

// silent returns the ready nodes whose heartbeat has not changed for longer than a lease.
func (w *leases) silent(nodes []husk.Node, now time.Time) []husk.Node {
	var silent []husk.Node
	seen := make(map[store.ID]heartbeat, len(nodes))
	for _, n := range nodes {
		if n.State != husk.NodeReady || n.HeartbeatAt == nil {
			continue
		}
		h, known := w.seen[n.ID]
		if !known || !h.stamp.Equal(*n.HeartbeatAt) {
			h = heartbeat{*n.HeartbeatAt, now}
		}
		seen[n.ID] = h
		if now.Sub(h.moved) > w.lease {
			silent = append(silent, n)
		}
	}
	w.seen = seen
	return silent
}

// nodes detects lost nodes by their heartbeats.
type nodes struct {
	store  store.Control
	log    *slog.Logger
	leases *leases
}

// unknownBatch is how many pods of lost nodes one transaction marks as Unknown.
const unknownBatch = 200

// pass marks nodes without heartbeats as Lost and their pods as Unknown. It moves no pods, because that needs fencing. A leader that ends
// between the two leaves the pods to the next one.
func (s *nodes) pass(ctx context.Context, epoch int64) error {
	all, err := s.store.Nodes(ctx)
	if err != nil {
		// Heartbeats may have been missed meanwhile, so every node gets a fresh lease.
		s.leases.seen = map[store.ID]heartbeat{}
		return err
	}
	var failures []error
	for _, n := range s.leases.silent(all, time.Now()) {
		lost, err := s.store.MarkLost(ctx, epoch, n)
		failures = append(failures, err)
		if lost {
			s.log.Warn("node lost", "node", n.ID, "name", n.Name, "lease", s.leases.lease)
		}
	}
	for {
		pods, err := s.store.MarkPodsUnknown(ctx, epoch, unknownBatch)
		if pods > 0 {
			s.log.Warn("pods are Unknown, because their nodes are lost", "pods", pods)
		}
		if err != nil || pods < unknownBatch {
			return errors.Join(append(failures, err)...)
		}
	}
}
