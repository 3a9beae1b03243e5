// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"husk"
	"husk/store"
	"husk/store/moves"
)

// drains moves the pods of nodes that are being drained, a few at a time. It keeps its view of the nodes while there is a drain.
type drains struct {
	store   store.Control
	log     *slog.Logger
	metrics *metrics
	index   *index
}

func (s *drains) pass(ctx context.Context, epoch int64) error {
	all, err := s.store.Moves().Drains(ctx)
	if err != nil {
		return err
	}
	left, blocked := 0, 0
	var failures []error
	for _, d := range all {
		if done := len(d.Pods) == 0 && d.Leaving == 0; done != d.Drained {
			failures = append(failures, s.store.Moves().SetDrained(ctx, d.Node, done))
			s.log.Info("no pod is left on a node that is being drained", "node", d.Node, "drained", done)
		}
		n, err := s.drain(ctx, epoch, d)
		failures = append(failures, err)
		left, blocked = left+len(d.Pods), blocked+n
	}
	s.metrics.drainPods.WithLabelValues("left").Set(float64(left))
	s.metrics.drainPods.WithLabelValues("blocked").Set(float64(blocked))
	if left == 0 {
		s.index = nil
	}
	return errors.Join(failures...)
}

// drain begins moves of a node's pods, as far as its limits allow, and returns how many pods cannot move at the moment.
func (s *drains) drain(ctx context.Context, epoch int64, d moves.Draining) (blocked int, _ error) {
	moving, ofTenant := 0, map[store.ID]int{}
	for _, p := range d.Pods {
		if p.Moving || p.Phase == husk.PhaseStopping {
			moving++
			ofTenant[p.TenantID]++
		}
	}
	for _, p := range d.Pods {
		switch {
		case p.Moving, p.Leaving, p.Phase == husk.PhaseStopping:
			continue
		case !p.Due:
			blocked++
			continue
		case moving >= d.MaxMoves || ofTenant[p.TenantID] >= d.MaxMovesPerTenant:
			continue
		}
		begun, why, err := s.move(ctx, epoch, d, p)
		switch {
		case err != nil:
			s.index = nil
			return blocked, err
		case begun:
			moving++
			ofTenant[p.TenantID]++
		case why != "":
			blocked++
			s.log.Warn("a pod cannot be moved from a node that is being drained; retrying", "tenant", p.TenantID, "pod", p.PodID, "node", d.Node, "reason", why)
			if err := s.store.Moves().Blocked(ctx, d.Node, p, why); err != nil {
				return blocked, err
			}
		}
	}
	return blocked, nil
}

// move begins the move of one pod. If it can only be stopped and started again, and the drain allows that, it evicts the pod.
func (s *drains) move(ctx context.Context, epoch int64, d moves.Draining, p moves.DrainingPod) (begun bool, why string, _ error) {
	if s.index == nil {
		s.index = newIndex(s.store, s.log)
	}
	if _, err := s.index.sync(ctx); err != nil { // the last move has changed a node
		return false, "", err
	}
	move, why := s.index.elsewhere(p, nil)
	if why == "" {
		move.Drains = true
		begun, err := s.store.Moves().Begin(ctx, &epoch, move)
		if begun {
			s.log.Info("a pod moves from a node that is being drained", "tenant", p.TenantID, "pod", p.PodID, "from", move.FromName, "to", move.ToName, "live", move.Live)
		}
		return begun, "", err // otherwise something has changed, and the next pass decides again
	}
	if d.Restart && p.Stuck(why) {
		return s.restart(ctx, epoch, d, p)
	}
	return false, why, nil
}

func (s *drains) restart(ctx context.Context, epoch int64, d moves.Draining, p moves.DrainingPod) (begun bool, why string, _ error) {
	key := store.PodKey{TenantID: p.TenantID, ID: p.PodID}
	if on, known := s.index.pods[key]; !known || !s.index.fleet.MayStop(on.handle) {
		return false, "its disruption limit does not allow to stop it", nil
	}
	stopped, err := s.store.Evict(ctx, epoch, []store.Eviction{{Pod: key, Node: d.Node}}, "Drained", "its node is being drained; the pod starts on another node")
	return len(stopped) > 0, "", err
}

func hasCapability(n store.NodeCapacity, capability string) bool {
	return slices.Contains(n.Capabilities, capability)
}
