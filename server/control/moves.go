// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"husk"
	"husk/ceph"
	"husk/store"
	"husk/store/moves"
)

// moving ends moves. It cancels those that take too long, and puts the clients of machines on the blocklist whose memory has moved.
type moving struct {
	store store.Control
	ceph  *ceph.Cluster
	log   *slog.Logger
}

const (
	// moveTimeout is how long a pod may take to arrive. Its old machine runs meanwhile.
	moveTimeout = 10 * time.Minute
	// cutFor is how long the client of a machine whose memory has moved stays on the blocklist. Its process has ended by then, and no other one has its number.
	cutFor = time.Hour
)

func (s *moving) pass(ctx context.Context, _ int64) error {
	open, err := s.store.Moves().Open(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, m := range open {
		if err := s.one(ctx, m); err != nil {
			failures = append(failures, fmt.Errorf("move of pod %s: %w", m.PodID, err))
		}
	}
	return errors.Join(failures...)
}

func (s *moving) one(ctx context.Context, m moves.Open) error {
	switch {
	case m.Incoming && m.Age > moveTimeout:
		why := fmt.Sprintf("it did not run on the other node within %s", moveTimeout)
		if m.Message != "" {
			why += ": " + m.Message
		}
		s.log.Warn("a move took too long and is canceled", "tenant", m.TenantID, "pod", m.PodID, "node", m.NodeID, "reason", m.Message)
		return s.store.Moves().Cancel(ctx, m, why)
	case !m.Cut:
		if err := s.ceph.Fence(ctx, m.Clients, cutFor); err != nil {
			return fmt.Errorf("put the clients of its old machine on the blocklist: %w", err)
		}
		s.log.Info("the old machine of a pod that has moved is cut off from its volumes", "tenant", m.TenantID, "pod", m.PodID, "node", m.NodeID, "addresses", m.Clients)
		return s.store.Moves().SetCut(ctx, m)
	}
	return nil
}

// MovePod moves a pod to another node, to this one if that is not nil. Codes: not_found, conflict.
func MovePod(ctx context.Context, s store.Control, log *slog.Logger, tenant, pod store.ID, to *store.ID) (husk.Move, error) {
	if m, ok, err := s.Moves().Of(ctx, tenant, pod); err != nil || ok {
		return m, err
	}
	on, err := s.Moves().Pod(ctx, tenant, pod)
	if err != nil {
		return husk.Move{}, err
	}
	x := newIndex(s, log)
	if _, err := x.sync(ctx); err != nil {
		return husk.Move{}, err
	}
	if to != nil && x.nodes[*to] == nil {
		return husk.Move{}, husk.Errorf(husk.CodeNotFound, "nodeId", "there is no such node")
	}
	move, why := x.elsewhere(on, to)
	if why != "" {
		return husk.Move{}, husk.Errorf(husk.CodeConflict, "", "the pod cannot be moved: %s", why)
	}
	begun, err := s.Moves().Begin(ctx, nil, move)
	if err != nil {
		return husk.Move{}, err
	}
	if !begun {
		return husk.Move{}, husk.Errorf(husk.CodeConflict, "", "the pod or the node has changed meanwhile; repeat the request")
	}
	return husk.Move{PodID: pod, TenantID: tenant, From: move.FromName, To: move.ToName, Live: move.Live}, nil
}

// elsewhere returns the move of a pod to another node, or why there is none.
func (x *index) elsewhere(on moves.DrainingPod, to *store.ID) (move moves.Start, why string) {
	key := store.PodKey{TenantID: on.TenantID, ID: on.PodID}
	p, known := x.pods[key]
	if !known {
		return move, "it is not running"
	}
	if why := on.Unready(); why != "" {
		return move, why
	}
	from := x.nodeOf(x.fleet.NodeOf(p.handle)).node
	needs := append([]string{husk.CapabilityMoves}, on.Needs...)
	if on.Live() {
		if needs[0] = husk.CapabilityLiveMigration; !hasCapability(from, husk.CapabilityLiveMigration) {
			return move, "the agent of its node cannot send its memory; update the agent"
		}
	}
	var may func(at int) bool
	if to != nil {
		may = func(at int) bool { return x.byAt[at] == *to }
	}
	at, refusal, ok := x.fleet.Elsewhere(p.handle, withCapabilities(nil, needs), may)
	if !ok {
		return move, refusalMessage(refusal)
	}
	n := x.nodeOf(at).node
	return moves.Start{
		TenantID: on.TenantID, PodID: on.PodID, From: from.ID, FromName: from.Name, To: n.ID, ToName: n.Name, ToVersion: n.Version, Live: on.Live(),
	}, ""
}
