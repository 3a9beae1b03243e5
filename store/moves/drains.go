// SPDX-License-Identifier: Apache-2.0

package moves

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/hints"
)

// PutDrain cordons a node and moves its pods away, or changes the limits of its drain. Codes: not_found.
func (s Store) PutDrain(ctx context.Context, node uuid.UUID, l husk.DrainLimits) (d husk.Drain, _ error) {
	err := s.Do(ctx, func(q *db.Queries) error {
		if err := drain(ctx, q, node, l); err != nil {
			return err
		}
		if err := s.Audit(ctx, q, "node", node.String()); err != nil {
			return err
		}
		var err error
		if d, err = drainOf(ctx, q, node); err != nil {
			return err
		}
		return q.Hint(ctx, []string{hints.Work})
	})
	return d, err
}

func drain(ctx context.Context, q *db.Queries, node uuid.UUID, l husk.DrainLimits) error {
	row, err := q.LockNode(ctx, node)
	if errors.Is(err, pgx.ErrNoRows) {
		return husk.Errorf(husk.CodeNotFound, "", "there is no such node")
	}
	if err != nil {
		return err
	}
	if err := q.PutDrain(ctx, db.PutDrainParams{
		NodeID: node, MaxMoves: l.MaxMoves, MaxMovesPerTenant: l.MaxMovesPerTenant, Restart: l.Restart, WasCordoned: row.Cordoned,
	}); err != nil {
		return err
	}
	return q.CordonNodes(ctx, []uuid.UUID{node})
}

// DrainNodes begins to drain nodes with the default limits, in a transaction. Nodes that are being drained already keep their limits.
func DrainNodes(ctx context.Context, q *db.Queries, nodes []uuid.UUID) error {
	for _, id := range nodes {
		if _, err := q.DrainOf(ctx, id); err == nil {
			continue
		} else if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if err := drain(ctx, q, id, husk.DefaultDrainLimits); err != nil {
			return err
		}
	}
	return nil
}

// CancelDrain ends the drain of a node and the moves that are not finished. The node gets pods again, unless it was cordoned before. Codes: not_found.
func (s Store) CancelDrain(ctx context.Context, node uuid.UUID) error {
	return s.Do(ctx, func(q *db.Queries) error {
		ended, err := EndDrain(ctx, q, node)
		if err != nil {
			return err
		}
		if ended == nil {
			return husk.Errorf(husk.CodeNotFound, "", "the node is not being drained")
		}
		if !ended.WasCordoned {
			if err := q.UncordonNode(ctx, node); err != nil {
				return err
			}
		}
		if err := s.Audit(ctx, q, "node", node.String()); err != nil {
			return err
		}
		return q.Hint(ctx, []string{hints.Work})
	})
}

// EndDrain deletes a drain and cancels its moves, in a transaction that does not hold the node. It returns nil if the node was not being drained.
func EndDrain(ctx context.Context, q *db.Queries, node uuid.UUID) (*db.Drain, error) {
	if err := q.LockPodsMovingFrom(ctx, node); err != nil {
		return nil, err
	}
	if err := q.CancelMovesFrom(ctx, node); err != nil {
		return nil, err
	}
	row, err := q.DeleteDrain(ctx, node)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // as documented
	}
	return &row, err
}

// Drain returns how far the drain of a node is. Codes: not_found.
func (s Store) Drain(ctx context.Context, node uuid.UUID) (d husk.Drain, _ error) {
	err := s.Do(ctx, func(q *db.Queries) (err error) { d, err = drainOf(ctx, q, node); return err })
	return d, err
}

func drainOf(ctx context.Context, q *db.Queries, node uuid.UUID) (husk.Drain, error) {
	row, err := q.DrainOf(ctx, node)
	if errors.Is(err, pgx.ErrNoRows) {
		return husk.Drain{}, husk.Errorf(husk.CodeNotFound, "", "the node is not being drained")
	}
	if err != nil {
		return husk.Drain{}, err
	}
	d := husk.Drain{
		State: husk.DrainDraining, DrainLimits: limits(row), Moved: row.Moved, Blocked: []husk.BlockedPod{}, StartedAt: row.StartedAt, DrainedAt: row.DrainedAt,
	}
	if row.DrainedAt != nil {
		d.State = husk.DrainDrained
	}
	pods, err := q.PodsToDrain(ctx, node)
	if err != nil {
		return d, err
	}
	for _, p := range pods {
		d.Pods++
		if p.Moving {
			d.Moving++
		}
		if p.Message != "" && !p.Moving {
			d.Blocked = append(d.Blocked, husk.BlockedPod{ID: p.ID, TenantID: p.TenantID, Name: p.Name, Attempts: p.Attempts, Message: p.Message})
		}
	}
	d.Leaving, err = q.LeavingNode(ctx, node)
	return d, err
}

func limits(d db.Drain) husk.DrainLimits {
	return husk.DrainLimits{MaxMoves: d.MaxMoves, MaxMovesPerTenant: d.MaxMovesPerTenant, Restart: d.Restart}
}

// Draining is a drain as the leader works on it.
type Draining struct {
	Node uuid.UUID
	husk.DrainLimits
	Pods    []DrainingPod
	Leaving int
	Drained bool
}

// DrainingPod is a pod on a node that is being drained.
type DrainingPod struct {
	TenantID, PodID uuid.UUID
	Phase           husk.Phase
	Unknown         bool // its node does not respond
	Needs           []string
	Once            bool // it is never started again
	Volumes         bool // its machine writes volumes
	Unnoticed       bool // it moves for the sake of others
	ClientsKnown    bool // the Ceph clients of its machine
	Moving, Leaving bool
	Due             bool // it has not failed, or its next attempt is due
	Attempts        int  // that have failed
}

// Drains returns all drains, the oldest first.
func (s Store) Drains(ctx context.Context) (all []Draining, _ error) {
	err := s.Do(ctx, func(q *db.Queries) error {
		all = nil
		rows, err := q.Drains(ctx)
		if err != nil {
			return err
		}
		for _, r := range rows {
			pods, err := q.PodsToDrain(ctx, r.NodeID)
			if err != nil {
				return err
			}
			d := Draining{Node: r.NodeID, DrainLimits: limits(r), Drained: r.DrainedAt != nil, Pods: convert.All(pods, drainingPod)}
			if d.Leaving, err = q.LeavingNode(ctx, r.NodeID); err != nil {
				return err
			}
			all = append(all, d)
		}
		return nil
	})
	return all, err
}

func drainingPod(p db.PodsToDrainRow) DrainingPod {
	return DrainingPod{
		TenantID: p.TenantID, PodID: p.ID, Phase: p.Phase, Unknown: p.Unknown, Needs: p.Needs, Once: p.Spec.RestartPolicy == husk.RestartNever, Volumes: p.Volumes,
		ClientsKnown: p.ClientsKnown, Moving: p.Moving, Leaving: p.Leaving, Due: p.Due, Attempts: p.Attempts,
	}
}

// Blocked records why a pod cannot be moved from a node that is being drained.
func (s Store) Blocked(ctx context.Context, node uuid.UUID, p DrainingPod, why string) error {
	return s.Do(ctx, func(q *db.Queries) error {
		return q.SetDrainFailure(ctx, db.SetDrainFailureParams{NodeID: node, TenantID: p.TenantID, PodID: p.PodID, Message: why})
	})
}

// SetDrained records whether pods are left on a node.
func (s Store) SetDrained(ctx context.Context, node uuid.UUID, drained bool) error {
	return s.Do(ctx, func(q *db.Queries) error {
		return q.SetDrained(ctx, db.SetDrainedParams{NodeID: node, Drained: drained})
	})
}

// Live reports whether the pod moves with its memory. It has to if it writes volumes, because two machines would write them otherwise, and if it
// is never started again. A pod that nobody asked to move is not restarted either.
func (p DrainingPod) Live() bool { return p.Volumes || p.Once || p.Unnoticed }

// Unready returns why the pod cannot be moved yet.
func (p DrainingPod) Unready() string {
	switch {
	case p.Moving:
		return "it is moving"
	case p.Leaving:
		return "a node still removes what it has of it after its last move"
	case p.Phase != husk.PhaseRunning && p.Phase != husk.PhaseStarting || p.Live() && p.Phase != husk.PhaseRunning:
		return "it is " + string(p.Phase)
	case p.Unknown:
		return "its node does not respond"
	case p.Volumes && !p.ClientsKnown:
		return clientsUnknown
	}
	return ""
}

const clientsUnknown = "the Ceph clients of its virtual machine are not known yet"

// Stuck reports whether stopping the pod helps, given why it cannot be moved while it runs.
func (p DrainingPod) Stuck(why string) bool {
	return !p.Once && !slices.Contains([]string{p.Unready()}, why) && p.Attempts > 0
}

// Pod returns a pod that runs. Codes: not_found, conflict.
func (s Store) Pod(ctx context.Context, tenant, pod uuid.UUID) (p DrainingPod, _ error) {
	err := s.Do(ctx, func(q *db.Queries) error {
		row, err := q.Pod(ctx, db.PodParams{TenantID: tenant, ID: pod})
		if errors.Is(err, pgx.ErrNoRows) {
			return husk.Errorf(husk.CodeNotFound, "", "there is no such pod")
		}
		if err != nil {
			return err
		}
		if row.NodeID == nil || !row.HoldsRoom {
			return husk.Errorf(husk.CodeConflict, "", "pod %q is %s, and runs on no node", row.Name, row.Phase)
		}
		pods, err := q.PodsToDrain(ctx, *row.NodeID)
		if err != nil {
			return err
		}
		for _, r := range pods {
			if r.ID == pod {
				p = drainingPod(r)
			}
		}
		return nil
	})
	return p, err
}

// Of returns the move of a pod that is under way.
func (s Store) Of(ctx context.Context, tenant, pod uuid.UUID) (m husk.Move, moves bool, _ error) {
	err := s.Do(ctx, func(q *db.Queries) error {
		moves = false
		r, err := q.MoveOfPod(ctx, db.MoveOfPodParams{TenantID: tenant, PodID: pod})
		if errors.Is(err, pgx.ErrNoRows) || err == nil && r.Placement.Role != incoming {
			return nil
		}
		m, moves = husk.Move{PodID: pod, TenantID: tenant, From: r.FromName, To: r.NodeName, Live: r.Placement.Live}, true
		return err
	})
	return m, moves && err == nil, err
}
