// SPDX-License-Identifier: Apache-2.0

package nodelife

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/db"
	"husk/store/hints"
	"husk/store/moves"
	"husk/store/podevents"
)

// Report applies an agent's report about a pod on its own node. It drops one about another pod, and a late one: about an older generation or
// placement, or with an event that does not apply in the pod's phase.
func Report(ctx context.Context, q *db.Queries, node uuid.UUID, r husk.PodReport) error {
	row, err := q.LockNodePod(ctx, db.LockNodePodParams{NodeID: node, ID: r.PodID})
	switch none := errors.Is(err, pgx.ErrNoRows); {
	case none && r.Placement == 0:
		return nil
	case none || err == nil && r.Placement != 0 && r.Placement != row.Placement:
		now, err := moves.Report(ctx, q, node, r)
		if err != nil || now == nil {
			return err
		}
		row = *now
	case err != nil:
		return err
	}
	if err := moves.ForgetEarlier(ctx, q, row); err != nil {
		return err
	}
	next, ok := row.Phase.Next(r.Event)
	if !ok || r.Generation < row.ObservedGeneration || r.Generation < row.PlacedGeneration {
		return nil
	}
	if row.HoldsRoom && !next.Holds() {
		if err := Free(ctx, q, row, row.Evicted); err != nil {
			return err
		}
	}
	if next == husk.PhaseGone {
		return Leave(ctx, q, row)
	}
	if err := podevents.Record(ctx, q, row, r.Containers); err != nil {
		return err
	}
	status := db.UpdatePodStatusParams{
		TenantID: row.TenantID, ID: row.ID, Phase: next, Reason: r.Reason, Message: r.Message, ObservedGeneration: r.Generation,
		Restarts: r.Restarts, Containers: r.Containers, DomainStartingAt: r.DomainStartingAt, NetworkConnectedAt: r.NetworkConnectedAt, DomainStartedAt: r.DomainStartedAt,
		GuestReadyAt: r.GuestReadyAt, RunningAt: r.RunningAt,
	}
	if r.Resources != nil && next.Holds() {
		status.MachineCpuMillis, status.MachineMemoryMib = &r.Resources.CPUMillis, &r.Resources.MemoryMiB
		if err := shrink(ctx, q, row, r); err != nil {
			return err
		}
	}
	if err := q.UpdatePodStatus(ctx, status); err != nil {
		return err
	}
	switch {
	case next != row.Phase:
		return record(ctx, q, row, string(next), r.Message)
	case row.UnknownSince != nil:
		return record(ctx, q, row, string(next), "node "+row.NodeName+" responds again")
	}
	return q.Hint(ctx, []string{hints.Tenant(row.TenantID)})
}

// shrink frees what the node has reserved for a pod beyond its size, once the machine has become smaller. A report about an earlier generation may be about a
// machine that was made larger since. A pod that moves is reserved twice, and stays as it is until it has arrived.
func shrink(ctx context.Context, q *db.Queries, row db.Pod, r husk.PodReport) error {
	size := row.Spec.Resources
	now := husk.Resources{CPUMillis: max(size.CPUMillis, min(row.CpuMillis, r.Resources.CPUMillis)), MemoryMiB: max(size.MemoryMiB, min(row.MemoryMib, r.Resources.MemoryMiB))}
	if !row.HoldsRoom || r.Generation != row.Generation || now.CPUMillis == row.CpuMillis && now.MemoryMiB == row.MemoryMib {
		return nil
	}
	arrives, err := q.PodArrives(ctx, db.PodArrivesParams{TenantID: row.TenantID, PodID: row.ID})
	if err != nil || arrives {
		return err
	}
	err = q.FreeNodeCapacity(ctx, db.FreeNodeCapacityParams{ID: *row.NodeID, CpuMillis: row.CpuMillis - now.CPUMillis, MemoryMib: row.MemoryMib - now.MemoryMiB})
	if err != nil {
		return err
	}
	return q.ReservePod(ctx, db.ReservePodParams{TenantID: row.TenantID, ID: row.ID, CpuMillis: now.CPUMillis, MemoryMib: now.MemoryMiB})
}
