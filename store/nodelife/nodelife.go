// SPDX-License-Identifier: Apache-2.0

// Package nodelife changes nodes that are lost and fenced, and the pods that leave a node, in transactions of package store.
package nodelife

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"husk"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/hints"
	"husk/store/moves"
)

// Free releases what a pod held after its virtual machine has ended: its allocation on the node and, unless it will run again, its volume claims.
func Free(ctx context.Context, q *db.Queries, row db.Pod, again bool) error {
	if err := q.FreeNodeCapacity(ctx, db.FreeNodeCapacityParams{
		ID: *row.NodeID, CpuMillis: row.CpuMillis, MemoryMib: row.MemoryMib + row.VmmOverheadMib,
	}); err != nil {
		return err
	}
	if err := q.ClearPodAllocation(ctx, db.ClearPodAllocationParams{TenantID: row.TenantID, ID: row.ID}); err != nil {
		return err
	}
	if !again {
		if err := q.ReleaseClaims(ctx, db.ReleaseClaimsParams{TenantID: row.TenantID, PodID: row.ID}); err != nil {
			return err
		}
	}
	return q.Hint(ctx, []string{hints.Node(*row.NodeID)})
}

// Leave takes a pod that was being stopped from its node, after its machine has ended. An evicted pod waits for its next placement, or stays
// stopped. Others are removed, after what nodes still have of them that they moved from or to.
func Leave(ctx context.Context, q *db.Queries, row db.Pod) error {
	if !row.Evicted {
		waits, err := moves.Waits(ctx, q, row)
		if err != nil {
			return err
		}
		if waits {
			return q.DetachPod(ctx, db.DetachPodParams{TenantID: row.TenantID, ID: row.ID})
		}
		if _, err := q.RemovePod(ctx, db.RemovePodParams{TenantID: row.TenantID, ID: row.ID}); err != nil {
			return err
		}
		return record(ctx, q, row, "Gone", "")
	}
	if err := q.RequeuePod(ctx, db.RequeuePodParams{TenantID: row.TenantID, ID: row.ID}); err != nil {
		return err
	}
	if row.Halted {
		return record(ctx, q, row, "Stopped", "")
	}
	return record(ctx, q, row, "Requeued", "")
}

func record(ctx context.Context, q *db.Queries, row db.Pod, reason, message string) error {
	if err := q.InsertEvent(ctx, db.InsertEventParams{TenantID: row.TenantID, Kind: "pod", ObjectID: row.ID, Reason: reason, Message: message}); err != nil {
		return err
	}
	topics := []string{hints.Work, hints.Tenant(row.TenantID)}
	if row.NodeID != nil {
		topics = append(topics, hints.Node(*row.NodeID))
	}
	return q.Hint(ctx, topics)
}

// MarkUnknown records of pods of lost nodes that what is known of them may be old, at most limit of them, and returns how many.
func MarkUnknown(ctx context.Context, q *db.Queries, limit int) (int, error) {
	pods, err := q.PodsOfLostNodes(ctx, limit)
	if err != nil {
		return 0, err
	}
	for _, p := range pods {
		if err := q.MarkPodUnknown(ctx, db.MarkPodUnknownParams{TenantID: p.TenantID, ID: p.ID}); err != nil {
			return 0, err
		}
		if err := record(ctx, q, p, "Unknown", "node "+p.NodeName+" does not respond"); err != nil {
			return 0, err
		}
	}
	return len(pods), nil
}

// setPhase changes a pod's phase without a report.
func setPhase(ctx context.Context, q *db.Queries, p db.Pod, phase husk.Phase, reason, message string) error {
	return q.UpdatePodStatus(ctx, db.UpdatePodStatusParams{
		TenantID: p.TenantID, ID: p.ID, Phase: phase, Reason: reason, Message: message,
		ObservedGeneration: p.ObservedGeneration, Restarts: p.Restarts, Containers: p.Containers, DomainStartingAt: p.DomainStartingAt, NetworkConnectedAt: p.NetworkConnectedAt,
		DomainStartedAt: p.DomainStartedAt, GuestReadyAt: p.GuestReadyAt, RunningAt: p.RunningAt,
	})
}

// Move takes pods from a lost node, at most limit of them, and returns them: all pods of a fenced node, and otherwise those that write no volumes.
// Each keeps its id, its address and its volumes, and waits for its next placement. A pod that is to run only once has failed.
func Move(ctx context.Context, q *db.Queries, node husk.Node, limit int) (pods []db.Pod, err error) {
	pods, err = q.PodsToMove(ctx, db.PodsToMoveParams{NodeID: node.ID, Max: limit})
	if err != nil {
		return nil, err
	}
	if len(pods) < limit { // in the last transaction
		defer func() { err = errors.Join(err, moves.NodeLost(ctx, q, node)) }()
	}
	for _, row := range pods {
		if err := move(ctx, q, row, node); err != nil {
			return nil, fmt.Errorf("move pod %s: %w", row.ID, err)
		}
	}
	return pods, nil
}

func move(ctx context.Context, q *db.Queries, row db.Pod, node husk.Node) error {
	// It does nothing if the node is not fenced: the placement of a pod without volumes ends here, and if the node returns, it removes the machine.
	if err := q.FencePlacement(ctx, db.FencePlacementParams{TenantID: row.TenantID, PodID: row.ID, Number: row.Placement}); err != nil {
		return err
	}
	once := row.Spec.RestartPolicy == husk.RestartNever
	next, runs := row.Phase.Next(husk.EventFenced)
	if row.HoldsRoom {
		if err := Free(ctx, q, row, row.Evicted || runs && !once); err != nil {
			return err
		}
	}
	if !runs { // it was being stopped
		return Leave(ctx, q, row)
	}
	if once {
		message := "its node " + node.Name + " was lost, and its restart policy is Never"
		if err := setPhase(ctx, q, row, husk.PhaseFailed, husk.ReasonNodeLost, message); err != nil {
			return err
		}
		return record(ctx, q, row, string(husk.PhaseFailed), message)
	}
	if next != husk.PhasePending {
		return fmt.Errorf("a fenced pod would be %s", next)
	}
	if err := q.RequeuePod(ctx, db.RequeuePodParams{TenantID: row.TenantID, ID: row.ID}); err != nil {
		return err
	}
	return record(ctx, q, row, "FailedOver", "node "+node.Name+" was lost; the pod starts on another node")
}

// Placement is one period that a pod spends on a node.
type Placement struct {
	TenantID, PodID uuid.UUID
	Number          int64
	Volumes         []string // the RBD images that its machine writes
	Clients         []string // the Ceph addresses of the machine that was seen last
	// Seen: the clients of the machine that runs are among them. If the machine was not seen yet, it may have a client that is not known.
	Seen bool
}

// OfNode returns the placements on a node.
func OfNode(ctx context.Context, q *db.Queries, node uuid.UUID) ([]Placement, error) {
	rows, err := q.PlacementsOfNode(ctx, node)
	return convert.All(rows, func(r db.PlacementsOfNodeRow) Placement {
		return Placement{r.TenantID, r.PodID, r.Number, volumeNames(r.VolumeIds), r.Clients, r.ClientsAt != nil}
	}), err
}

func volumeNames(ids []uuid.UUID) []string {
	return convert.All(ids, func(id uuid.UUID) string { return husk.Volume{ID: id}.RBDName() })
}

// Unseen returns placements whose Ceph clients are not recorded yet, at most limit of them. note records the clients of one.
func Unseen(ctx context.Context, q *db.Queries, limit int) ([]UnseenPlacement, error) {
	rows, err := q.PlacementsNotSeen(ctx, limit)
	return convert.All(rows, func(r db.PlacementsNotSeenRow) UnseenPlacement {
		return UnseenPlacement{Placement: Placement{TenantID: r.TenantID, PodID: r.PodID, Number: r.Number, Volumes: volumeNames(r.VolumeIds)}, row: r}
	}), err
}

// UnseenPlacement is a placement with a machine whose Ceph clients are not recorded.
type UnseenPlacement struct {
	Placement
	row db.PlacementsNotSeenRow
}

// Note records the Ceph clients of its machine. If another machine has started meanwhile, its clients are still to be recorded.
func (u UnseenPlacement) Note(ctx context.Context, q *db.Queries, clients []string) error {
	return q.SetClients(ctx, db.SetClientsParams{
		Clients: clients, TenantID: u.TenantID, PodID: u.PodID, Number: u.Number, DomainStartedAt: u.row.DomainStartedAt,
	})
}
