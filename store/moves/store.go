// SPDX-License-Identifier: Apache-2.0

package moves

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/convert"
	"husk/store/db"
)

// Store runs the transactions.
type Store struct {
	Do    func(ctx context.Context, f func(q *db.Queries) error) error
	Audit func(ctx context.Context, q *db.Queries, kind, id string) error // records the request as a change of this object
}

// Start is a move that begins.
type Start struct {
	TenantID, PodID uuid.UUID
	From, To        uuid.UUID
	ToVersion       int64 // of the node To
	FromName        string
	ToName          string
	Live            bool
	Drains          bool // it is part of a drain of the node From
}

// Begin begins a move, and reports whether it did: not if the pod or the node To has changed, or if another server leads. Without an epoch, it acts
// for the server that leads.
func (s Store) Begin(ctx context.Context, epoch *int64, m Start) (begun bool, _ error) {
	err := s.Do(ctx, func(q *db.Queries) (err error) {
		begun = false
		leads := epoch
		if leads == nil {
			now, err := q.Epoch(ctx)
			if err != nil {
				return err
			}
			leads = &now
		}
		if begun, err = Begin(ctx, q, *leads, m); err != nil || !begun || epoch != nil {
			return err
		}
		return s.Audit(ctx, q, "pod", m.PodID.String())
	})
	return begun, err
}

// Begin is Store.Begin in a transaction.
func Begin(ctx context.Context, q *db.Queries, epoch int64, m Start) (bool, error) {
	_, err := q.BeginMove(ctx, db.BeginMoveParams{
		Epoch: epoch, TenantID: m.TenantID, PodID: m.PodID, FromNode: &m.From, ToNode: m.To, ToVersion: m.ToVersion, Live: m.Live, Drains: m.Drains,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	how := "it starts there before it stops here"
	if m.Live {
		how = "its memory moves with it"
	}
	row := db.Pod{TenantID: m.TenantID, ID: m.PodID}
	return true, record(ctx, q, row, "MoveStarted", "the pod moves from node "+m.FromName+" to node "+m.ToName+"; "+how)
}

// Outcome is how a move stands.
type Outcome string

// The outcomes of a move that is over.
const (
	Switched Outcome = "Switched" // the placement is the active one
	Canceled Outcome = "Canceled" // the pod is on the node that it was to leave
	Over     Outcome = "Over"     // neither: the pod is on another node by now, or on none
)

// Decide ends a move whose memory moves, as one of its two nodes requests: with the switch, or, if why is not empty, without it. The first request
// decides, and later ones get its outcome. The reason may have details of the node, which are for operators: the pod's event does not have them. A machine may continue on the node that the pod leaves only if the pod is still there.
func (s Store) Decide(ctx context.Context, node, pod uuid.UUID, number int64, why string) (is Outcome, _ error) {
	err := s.Do(ctx, func(q *db.Queries) (err error) { is, err = decide(ctx, q, node, pod, number, why); return err })
	return is, err
}

func decide(ctx context.Context, q *db.Queries, node, pod uuid.UUID, number int64, why string) (Outcome, error) {
	row, err := q.LockMovingPod(ctx, db.LockMovingPodParams{PodID: pod, Number: number, NodeID: node})
	if errors.Is(err, pgx.ErrNoRows) {
		if row, err = q.LockNodePod(ctx, db.LockNodePodParams{NodeID: node, ID: pod}); errors.Is(err, pgx.ErrNoRows) {
			return Over, nil
		}
	}
	if err != nil {
		return "", err
	}
	is := func() Outcome {
		switch here := row.NodeID != nil && *row.NodeID == node; {
		case here && row.Placement == number:
			return Switched
		case here && row.Placement < number:
			return Canceled
		}
		return Over
	}
	pl, err := q.LockPlacement(ctx, db.LockPlacementParams{TenantID: row.TenantID, PodID: pod, Number: number})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return is(), nil
	case err != nil:
		return "", err
	case pl.Role == active && row.Placement == number:
		return Switched, nil
	case pl.Role != incoming || !pl.Live:
		return is(), nil
	case why != "":
		return is(), cancel(ctx, q, row, pl, convert.Storable(why, maxMessage), "its memory could not be moved to the other node")
	case pl.NodeID != node:
		return "", husk.Errorf(husk.CodeConflict, "", "only the node that the pod goes to can request the switch")
	}
	err = change(ctx, q, row, pl)
	if no, refused := errors.AsType[refusal](err); refused {
		return is(), Cancel(ctx, q, row, pl, no.why)
	}
	return Switched, err
}

// Ran records that a machine runs on its new node, and how long it was paused. It reports whether the pod is there.
func (s Store) Ran(ctx context.Context, node, pod uuid.UUID, number int64, downtime time.Duration) (is bool, _ error) {
	err := s.Do(ctx, func(q *db.Queries) error {
		is = false
		row, err := q.LockNodePod(ctx, db.LockNodePodParams{NodeID: node, ID: pod})
		if errors.Is(err, pgx.ErrNoRows) || err == nil && row.Placement != number {
			return nil
		}
		if err != nil {
			return err
		}
		is = true
		return record(ctx, q, row, "MoveFinished", "the pod continues on node "+row.NodeName+"; it was paused for "+downtime.String())
	})
	return is, err
}

// maxMessage limits the message of a move, in bytes.
const maxMessage = 512

// Open is a placement that is incoming or leaving.
type Open struct {
	TenantID, PodID uuid.UUID
	Number          int64
	NodeID          uuid.UUID
	Incoming        bool
	Live, Gone      bool
	Cut             bool     // its clients do not have to be put on the blocklist, or are there
	Clients         []string // of its machine
	Age             time.Duration
	Message         string
}

// Open returns all placements that are incoming or leaving.
func (s Store) Open(ctx context.Context) (open []Open, _ error) {
	err := s.Do(ctx, func(q *db.Queries) error {
		rows, err := q.OpenMoves(ctx)
		open = convert.All(rows, func(r db.OpenMovesRow) Open {
			pl := db.Placement{Live: r.Live, Volumes: r.Volumes, Number: r.Number, Cut: r.Cut}
			return Open{
				TenantID: r.TenantID, PodID: r.PodID, Number: r.Number, NodeID: r.NodeID, Incoming: r.Role == incoming, Live: r.Live, Gone: r.Gone,
				Cut: r.Role == incoming || !NeedsCut(pl, r.ActiveNumber), Clients: r.Clients, Age: time.Duration(r.Seconds * float64(time.Second)), Message: r.Message,
			}
		})
		return err
	})
	return open, err
}

// Cancel ends a move that has taken too long.
func (s Store) Cancel(ctx context.Context, m Open, why string) error {
	return s.with(ctx, m, func(q *db.Queries, row db.Pod, pl db.Placement) error {
		if pl.Role != incoming {
			return nil
		}
		return Cancel(ctx, q, row, pl, why)
	})
}

// SetCut records that the clients of a leaving placement are on the blocklist, and ends the placement if its node has removed it.
func (s Store) SetCut(ctx context.Context, m Open) error {
	return s.with(ctx, m, func(q *db.Queries, row db.Pod, pl db.Placement) error {
		if pl.Role != leaving {
			return nil
		}
		if pl.Gone {
			return End(ctx, q, row, pl)
		}
		return q.SetPlacementCut(ctx, db.SetPlacementCutParams{TenantID: pl.TenantID, PodID: pl.PodID, Number: pl.Number})
	})
}

func (s Store) with(ctx context.Context, m Open, f func(q *db.Queries, row db.Pod, pl db.Placement) error) error {
	return s.Do(ctx, func(q *db.Queries) error {
		row, err := q.LockPod(ctx, db.LockPodParams{TenantID: m.TenantID, ID: m.PodID})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		pl, err := q.LockPlacement(ctx, db.LockPlacementParams{TenantID: m.TenantID, PodID: m.PodID, Number: m.Number})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return f(q, row, pl)
	})
}

// SetKeys stores the sealed keys of incoming placements.
func SetKeys(ctx context.Context, q *db.Queries, p db.SetPodKeysParams) ([]uuid.UUID, error) {
	return q.SetIncomingKeys(ctx, db.SetIncomingKeysParams(p))
}

// AddKeyed adds the holders of keys of incoming and leaving placements (husk.KeyHolder), of one pod or of all.
func AddKeyed(ctx context.Context, q *db.Queries, pod *uuid.UUID, holders map[string]bool) error {
	rows, err := q.KeyedPlacements(ctx, pod)
	for _, r := range rows {
		holders[husk.KeyHolder(r.PodID, r.Number)] = true
	}
	return err
}

// ToKey returns the number of the placement of a pod that needs a key: of the incoming one, or this one.
func ToKey(ctx context.Context, q *db.Queries, row db.Pod) (int64, error) {
	number, err := q.PlacementToKey(ctx, db.PlacementToKeyParams{TenantID: row.TenantID, PodID: row.ID})
	if errors.Is(err, pgx.ErrNoRows) {
		return row.Placement, nil
	}
	return number, err
}
