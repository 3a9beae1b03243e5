// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/desired"
	"husk/store/hints"
	"husk/store/podevents"
)

// Desired returns the desired state of a node: what has changed after a revision, or everything if after is nil or the changes since then are
// not known any more. Codes: not_found.
func (c Control) Desired(ctx context.Context, node ID, after *int64) (desired.State, error) {
	return inControl(ctx, c, func(q *db.Queries) (desired.State, error) {
		state, err := desired.Read(ctx, q, node, after, &c.keys, func(pod db.Pod) (string, error) {
			key, err := c.keys.Open(ctx, q, pod.TenantID, pod.CephKey, sealedKeyOwner(pod.ID))
			return string(key), wrap(err, "ceph key of pod %s", pod.ID)
		})
		return state, orNotFound(err, "node")
	})
}

// ForgetDesiredChanges deletes changes of desired states that are older than an hour.
func (c Control) ForgetDesiredChanges(ctx context.Context) (int64, error) {
	return inControl(ctx, c, func(q *db.Queries) (int64, error) { return q.ForgetDesiredChanges(ctx) })
}

// DesiredRevision returns only the revision of a node's desired state. Codes: not_found.
func (c Control) DesiredRevision(ctx context.Context, node ID) (int64, error) {
	return inControl(ctx, c, func(q *db.Queries) (int64, error) {
		revision, err := q.DesiredRevision(ctx, node)
		return revision, orNotFound(err, "node")
	})
}

// Report applies an agent's reports about pods on its own node. It drops reports about other pods, and late reports: those about an older
// generation, or with an event that does not apply in the pod's phase. If some reports cannot be recorded, it records
// all others and returns husk.ItemsError.
func (c Control) Report(ctx context.Context, node ID, reports []husk.PodReport) error {
	failed := husk.ItemsError{}
	for i, r := range reports {
		r = convert.Report(r)
		_, err := inControl(ctx, c, func(q *db.Queries) (struct{}, error) { return struct{}{}, applyReport(ctx, q, node, r) })
		switch err = wrap(err, "report of pod %s", r.PodID); {
		case err == nil:
		case ctx.Err() != nil || husk.CodeOf(err) == husk.CodeUnavailable:
			return err // the other reports would fail in the same way
		default:
			failed[i] = err
		}
	}
	return failed.OrNil()
}

func applyReport(ctx context.Context, q *db.Queries, node ID, r husk.PodReport) error {
	row, err := q.LockNodePod(ctx, db.LockNodePodParams{NodeID: node, ID: r.PodID})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	next, ok := row.Phase.Next(r.Event)
	if !ok || r.Generation < row.ObservedGeneration || r.Generation < row.PlacedGeneration {
		return nil
	}
	if row.HoldsRoom && !next.Holds() {
		if err := freeCapacity(ctx, q, row); err != nil {
			return err
		}
	}
	if next == husk.PhaseGone && row.Evicted {
		if err := q.RequeuePod(ctx, db.RequeuePodParams{TenantID: row.TenantID, ID: row.ID}); err != nil {
			return err
		}
		if err := hint(ctx, q, hints.Work); err != nil {
			return err
		}
		event := "Requeued"
		if row.Halted {
			event = "Stopped"
		}
		return record(ctx, q, row.TenantID, "pod", row.ID, event, "")
	}
	if next == husk.PhaseGone {
		if _, err := q.RemovePod(ctx, db.RemovePodParams{TenantID: row.TenantID, ID: row.ID}); err != nil {
			return err
		}
		if !row.HoldsRoom { // freeing the capacity has already notified the node
			if err := hint(ctx, q, hints.Node(node)); err != nil {
				return err
			}
		}
		return record(ctx, q, row.TenantID, "pod", row.ID, "Gone", "")
	}
	if err := podevents.Record(ctx, q, row, r.Containers); err != nil {
		return err
	}
	err = q.UpdatePodStatus(ctx, db.UpdatePodStatusParams{
		TenantID: row.TenantID, ID: row.ID, Phase: next, Reason: r.Reason, Message: r.Message, ObservedGeneration: r.Generation,
		Restarts: r.Restarts, Containers: r.Containers, DomainStartingAt: r.DomainStartingAt, DomainStartedAt: r.DomainStartedAt,
		GuestReadyAt: r.GuestReadyAt, RunningAt: r.RunningAt,
	})
	if err != nil {
		return err
	}
	if next != row.Phase {
		return record(ctx, q, row.TenantID, "pod", row.ID, string(next), r.Message)
	}
	return hintTenant(ctx, q, row.TenantID)
}

// freeCapacity releases what a pod held after its virtual machine has ended: its allocation on the node and, unless the pod was only evicted,
// its volume claims.
func freeCapacity(ctx context.Context, q *db.Queries, row db.Pod) error {
	if err := q.FreeNodeCapacity(ctx, db.FreeNodeCapacityParams{
		ID: *row.NodeID, CpuMillis: row.CpuMillis, MemoryMib: row.MemoryMib + row.VmmOverheadMib,
	}); err != nil {
		return err
	}
	if err := q.ClearPodAllocation(ctx, db.ClearPodAllocationParams{TenantID: row.TenantID, ID: row.ID}); err != nil {
		return err
	}
	if row.Evicted { // it will run again with its volumes
		return hint(ctx, q, hints.Node(*row.NodeID))
	}
	if err := q.ReleaseClaims(ctx, db.ReleaseClaimsParams{TenantID: row.TenantID, PodID: row.ID}); err != nil {
		return err
	}
	return hint(ctx, q, hints.Node(*row.NodeID))
}

// SetPodKeys stores the sealed keys of placed pods and notifies their nodes. It skips pods that have a key by now. The keys of pods that are no
// longer allocated on a node become work to remove.
func (c Control) SetPodKeys(ctx context.Context, keys map[PodKey]string) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		var p db.SetPodKeysParams
		for pod, key := range keys {
			sealed, err := c.keys.Seal(ctx, q, pod.TenantID, []byte(key), sealedKeyOwner(pod.ID))
			if err != nil {
				return err
			}
			p.TenantIds, p.PodIds, p.CephKeys = append(p.TenantIds, pod.TenantID), append(p.PodIds, pod.ID), append(p.CephKeys, sealed)
		}
		nodes, err := q.SetPodKeys(ctx, p)
		if err != nil {
			return err
		}
		if err := q.RemoveUnusedKeys(ctx, db.RemoveUnusedKeysParams{TenantIds: p.TenantIds, PodIds: p.PodIds}); err != nil {
			return err
		}
		return hint(ctx, q, convert.All(nodes, hints.Node)...)
	})
}

// RenewPodKey has a new key created for a placed pod.
func (c Control) RenewPodKey(ctx context.Context, pod PodKey) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		if err := q.RenewPodKey(ctx, db.RenewPodKeyParams{TenantID: pod.TenantID, ID: pod.ID}); err != nil {
			return err
		}
		return hint(ctx, q, hints.Work)
	})
}

func sealedKeyOwner(pod ID) string { return "ceph key of pod " + pod.String() }

// KeyedPods returns the ids of the pods that may have a key in Ceph. Other keys are orphans.
func (c Control) KeyedPods(ctx context.Context) (map[string]bool, error) {
	return inControl(ctx, c, func(q *db.Queries) (map[string]bool, error) {
		ids, err := q.KeyedPodIDs(ctx)
		pods := map[string]bool{}
		for _, id := range ids {
			pods[id.String()] = true
		}
		return pods, err
	})
}
