package server

import (
	"context"
	"errors"
	"time"

	"husk"
	"husk/store"
)

const nodeReady = husk.NodeReady

// nodeWatch judges heartbeats by this process' own monotonic clock: how long ago it was that a node's heartbeat was seen to move.
// Every node starts with a fresh lease when a server begins to lead, so a server that was blind never judges by old news.
type nodeWatch struct {
	lease time.Duration
	seen  map[store.ID]heartbeat
}

type heartbeat struct {
	stamp time.Time // what the database says; compared for change only
	moved time.Time // when this process saw it change; monotonic
}

func newNodeWatch(lease time.Duration) *nodeWatch {
	return &nodeWatch{lease: lease, seen: map[store.ID]heartbeat{}}
}

// silent returns the ready nodes whose heartbeat has not moved for a lease.
func (w *nodeWatch) silent(nodes []husk.Node, now time.Time) []husk.Node {
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

// nodesPass takes nodes whose heartbeat stays away for lost. Their pods become Unknown; nothing is moved, since that needs fencing.
func (s *Server) nodesPass(ctx context.Context, epoch int64, watch *nodeWatch) error {
	nodes, err := s.store.Nodes(ctx)
	if err != nil {
		// Blind: what happened meanwhile is not known, so every node gets a fresh lease.
		watch.seen = map[store.ID]heartbeat{}
		return err
	}
	var failures []error
	for _, n := range watch.silent(nodes, time.Now()) {
		lost, pods, err := s.store.MarkLost(ctx, epoch, n)
		failures = append(failures, err)
		if lost {
			s.log.Warn("node lost", "node", n.ID, "name", n.Name, "pods", pods, "lease", watch.lease)
		}
	}
	return errors.Join(failures...)
}
