// SPDX-License-Identifier: Apache-2.0

// Package moves has the transactions by which pods go from one node to another.
//
// A pod that moves has a second placement, on the node that it goes to: it is incoming. One transaction makes it the active one, and the first
// placement leaving (Switch). If that does not happen, the incoming placement becomes leaving (Cancel). The two exclude each other, because
// both lock the pod. A leaving placement ends when its node has removed it.
package moves

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/db"
	"husk/store/hints"
)

// The roles of placements.
const (
	active   = "active"
	incoming = "incoming"
	leaving  = "leaving"
)

// refusal says why a move ends before its switch.
type refusal struct{ why string }

func (r refusal) Error() string { return r.why }

// Report applies a report about a placement that was not the active one of its pod. If the placement is active now, it returns the pod, and the
// report is about that.
func Report(ctx context.Context, q *db.Queries, node uuid.UUID, r husk.PodReport) (*db.Pod, error) {
	row, err := q.LockMovingPod(ctx, db.LockMovingPodParams{PodID: r.PodID, Number: r.Placement, NodeID: node})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // it is about a placement that has ended
	}
	if err != nil {
		return nil, err
	}
	pl, err := q.LockPlacement(ctx, db.LockPlacementParams{TenantID: row.TenantID, PodID: row.ID, Number: r.Placement})
	if errors.Is(err, pgx.ErrNoRows) || err == nil && pl.NodeID != node {
		return nil, nil //nolint:nilnil // as above
	}
	if err != nil {
		return nil, err
	}
	switch {
	case pl.Role == active:
		return &row, nil
	case pl.Role == leaving && r.Event == husk.EventGone:
		return nil, left(ctx, q, row, pl)
	case pl.Role != incoming:
	case r.Event == husk.EventRunning && !pl.Live:
		err := change(ctx, q, row, pl)
		if no, refused := errors.AsType[refusal](err); refused {
			return nil, Cancel(ctx, q, row, pl, no.why)
		}
		if err != nil {
			return nil, err
		}
		now, err := q.Pod(ctx, db.PodParams{TenantID: row.TenantID, ID: row.ID})
		return &now, err
	case slices.Contains([]husk.PhaseEvent{husk.EventFailed, husk.EventSucceeded, husk.EventGone}, r.Event):
		return nil, Cancel(ctx, q, row, pl, "it did not run there: "+r.Message)
	case r.Event == husk.EventStarting:
		return nil, q.SetMoveMessage(ctx, db.SetMoveMessageParams{TenantID: pl.TenantID, PodID: pl.PodID, Number: pl.Number, Message: r.Message})
	}
	return nil, nil //nolint:nilnil // nothing follows from it
}

// change makes an incoming placement the active one, unless that is not allowed any more. It returns a refusal then.
func change(ctx context.Context, q *db.Queries, row db.Pod, in db.Placement) error {
	if !slices.Contains([]husk.Phase{husk.PhaseStarting, husk.PhaseRunning, husk.PhaseUnknown}, row.Phase) || row.NodeID == nil {
		return refusal{"the pod is " + string(row.Phase)}
	}
	nodes, err := q.LockNodesOfMove(ctx, []uuid.UUID{*row.NodeID, in.NodeID})
	if err != nil {
		return err
	}
	var from, to db.LockNodesOfMoveRow
	for _, n := range nodes {
		if n.ID == in.NodeID {
			to = n
		} else {
			from = n
		}
	}
	responds := []husk.NodeState{husk.NodeReady, husk.NodeSuspect}
	if !slices.Contains(responds, to.State) {
		return refusal{"node " + to.Name + " is " + string(to.State)}
	}
	if in.Live && !slices.Contains(responds, from.State) { // the memory may come from a machine that was restarted meanwhile
		return refusal{"node " + from.Name + " is " + string(from.State)}
	}
	if err := q.LeaveActive(ctx, db.LeaveActiveParams{TenantID: row.TenantID, PodID: row.ID, Live: in.Live, Drains: in.Drains}); err != nil {
		return err
	}
	if err := q.ActivatePlacement(ctx, db.ActivatePlacementParams{TenantID: row.TenantID, PodID: row.ID, Number: in.Number}); err != nil {
		return err
	}
	decision, err := json.Marshal(husk.Placement{Outcome: husk.PlacementPlaced})
	if err != nil {
		return err
	}
	if err := q.SwitchPod(ctx, db.SwitchPodParams{
		TenantID: row.TenantID, PodID: row.ID, NodeID: in.NodeID, NodeName: to.Name, VmmOverheadMib: in.VmmOverheadMib, CephKey: in.CephKey, Number: in.Number, Decision: decision,
	}); err != nil {
		return err
	}
	if in.Drains {
		if err := q.CountMoved(ctx, from.ID); err != nil {
			return err
		}
	}
	if err := q.DeleteDrainFailure(ctx, db.DeleteDrainFailureParams{TenantID: row.TenantID, PodID: row.ID}); err != nil {
		return err
	}
	return record(ctx, q, row, "Moved", "the pod has moved from node "+from.Name+" to node "+to.Name, from.ID, to.ID)
}

// Cancel ends a move before its switch. The pod stays where it is, and the other node removes what it has of it.
func Cancel(ctx context.Context, q *db.Queries, row db.Pod, in db.Placement, why string) error {
	return cancel(ctx, q, row, in, why, why)
}

// cancel is Cancel with a reason for operators, which may have details of nodes, and one for the pod's tenant.
func cancel(ctx context.Context, q *db.Queries, row db.Pod, in db.Placement, why, told string) error {
	n, err := q.CancelMove(ctx, db.CancelMoveParams{TenantID: in.TenantID, PodID: in.PodID, Number: in.Number, Message: why})
	if err != nil || n == 0 {
		return err
	}
	if in.Drains && in.FromNode != nil {
		if err := q.SetDrainFailure(ctx, db.SetDrainFailureParams{NodeID: *in.FromNode, TenantID: in.TenantID, PodID: in.PodID, Message: why}); err != nil {
			return err
		}
	}
	nodes := []uuid.UUID{in.NodeID}
	if in.FromNode != nil {
		nodes = append(nodes, *in.FromNode)
	}
	return record(ctx, q, row, "MoveFailed", "the pod stays on its node: "+told, nodes...)
}

// left ends a leaving placement that its node has removed. The clients of a machine whose memory has moved are put on the blocklist before.
func left(ctx context.Context, q *db.Queries, row db.Pod, pl db.Placement) error {
	if err := free(ctx, q, pl); err != nil {
		return err
	}
	if NeedsCut(pl, row.Placement) {
		return q.Hint(ctx, []string{hints.Work})
	}
	return End(ctx, q, row, pl)
}

// NeedsCut reports whether the clients of a leaving placement still have to be put on the blocklist.
func NeedsCut(pl db.Placement, activeNumber int64) bool {
	return pl.Live && pl.Volumes && pl.Number < activeNumber && !pl.Cut
}

// free releases what a placement has on its node.
func free(ctx context.Context, q *db.Queries, pl db.Placement) error {
	if err := q.FreePlacement(ctx, db.FreePlacementParams{TenantID: pl.TenantID, PodID: pl.PodID, Number: pl.Number}); err != nil {
		return err
	}
	return q.SetPlacementGone(ctx, db.SetPlacementGoneParams{TenantID: pl.TenantID, PodID: pl.PodID, Number: pl.Number})
}

// End deletes a leaving placement of which nothing is left, and the pod, if that was deleted and waited for it.
func End(ctx context.Context, q *db.Queries, row db.Pod, pl db.Placement) error {
	if err := q.DeletePlacement(ctx, db.DeletePlacementParams{TenantID: pl.TenantID, PodID: pl.PodID, Number: pl.Number}); err != nil {
		return err
	}
	return finish(ctx, q, row, pl.NodeID)
}

// finish removes a pod that was deleted and has left all nodes.
func finish(ctx context.Context, q *db.Queries, row db.Pod, node uuid.UUID) error {
	if row.Phase != husk.PhaseStopping || row.NodeID != nil {
		return q.Hint(ctx, []string{hints.Work, hints.Node(node)})
	}
	if waits, err := Waits(ctx, q, row); err != nil || waits {
		return err
	}
	if _, err := q.RemovePod(ctx, db.RemovePodParams{TenantID: row.TenantID, ID: row.ID}); err != nil {
		return err
	}
	return record(ctx, q, row, "Gone", "", node)
}

// Waits reports whether a pod has incoming or leaving placements. A pod that was deleted is removed after them.
func Waits(ctx context.Context, q *db.Queries, row db.Pod) (bool, error) {
	others, err := q.OtherPlacements(ctx, db.OtherPlacementsParams{TenantID: row.TenantID, PodID: row.ID})
	return len(others) > 0, err
}

// ForgetEarlier ends leaving placements on a node that reports about a later one: an agent removes what is left of the earlier one before.
func ForgetEarlier(ctx context.Context, q *db.Queries, row db.Pod) error {
	if row.Placement < 2 {
		return nil
	}
	others, err := q.OtherPlacements(ctx, db.OtherPlacementsParams{TenantID: row.TenantID, PodID: row.ID})
	for _, pl := range others {
		if err == nil && pl.Role == leaving && row.NodeID != nil && pl.NodeID == *row.NodeID && pl.Number < row.Placement {
			err = left(ctx, q, row, pl)
		}
	}
	return err
}

// NodeLost ends the placements that a lost or fenced node has as incoming or leaving. Those that write volumes hold what they have on the node until it is fenced.
func NodeLost(ctx context.Context, q *db.Queries, node husk.Node) error {
	rows, err := q.MovesOfNode(ctx, node.ID)
	if err != nil {
		return err
	}
	fenced := node.State == husk.NodeFenced || node.State == husk.NodeRecovering
	for _, pl := range rows {
		row, err := q.LockPod(ctx, db.LockPodParams{TenantID: pl.TenantID, ID: pl.PodID})
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}
		if err != nil {
			return err
		}
		if pl.Role == incoming {
			if err := Cancel(ctx, q, row, pl, "node "+node.Name+" was lost"); err != nil {
				return err
			}
		}
		if !fenced && pl.Volumes {
			continue
		}
		if err := free(ctx, q, pl); err != nil {
			return err
		}
		if !fenced {
			err = End(ctx, q, row, pl)
		} else if err = q.SetPlacementFenced(ctx, db.SetPlacementFencedParams{TenantID: pl.TenantID, PodID: pl.PodID, Number: pl.Number}); err == nil {
			err = finish(ctx, q, row, pl.NodeID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func record(ctx context.Context, q *db.Queries, row db.Pod, reason, message string, nodes ...uuid.UUID) error {
	if err := q.InsertEvent(ctx, db.InsertEventParams{TenantID: row.TenantID, Kind: "pod", ObjectID: row.ID, Reason: reason, Message: message}); err != nil {
		return err
	}
	topics := []string{hints.Work, hints.Tenant(row.TenantID)}
	for _, n := range nodes {
		topics = append(topics, hints.Node(n))
	}
	return q.Hint(ctx, topics)
}

// Other describes a placement for the scheduler that is not the active one of its pod. It gets an ID of its own, and nobody may evict it. The rules
// about other pods apply on the node that a pod goes to, and no longer on the one that it leaves.
func Other(role string, number int64, id *uuid.UUID, leaves *bool, labels *map[string]string, s *husk.Scheduling) {
	switch role {
	case incoming:
		*leaves, *s = false, husk.Scheduling{Rules: s.Rules, Priority: s.Priority, Disruption: &husk.Disruption{MinAvailable: 1}}
	case leaving:
		*leaves, *labels, *s = true, nil, husk.Scheduling{}
	default:
		return
	}
	*id = uuid.NewSHA1(*id, fmt.Appendf(nil, "placement %d", number))
}
