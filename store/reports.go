package store

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/db"
)

// Report applies what an agent says about pods of its own node. Reports about other pods, and events that do not apply in the pod's
// phase, are dropped: they are late.
func (s *Store) Report(ctx context.Context, node ID, reports []husk.PodReport) error {
	var failures []error
	for _, r := range reports {
		r = storableReport(r)
		_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) { return struct{}{}, applyReport(ctx, q, node, r) })
		failures = append(failures, wrap(err, "report of pod %s", r.PodID))
		if ctx.Err() != nil || husk.CodeOf(err) == husk.CodeUnavailable {
			break // the others would wait in vain as long
		}
	}
	return errors.Join(failures...)
}

// maxReportedText bounds a word of a report, in bytes. It is the contract's limit of a pod's message.
const maxReportedText = 4096

// storableReport drops what Postgres keeps in no text, and cuts what is too long. Some of these words come from a guest, who must not be able to hold up what
// the node says of its other pods.
func storableReport(r husk.PodReport) husk.PodReport {
	clean := func(s string) string {
		return strings.ReplaceAll(strings.ToValidUTF8(s[:min(len(s), maxReportedText)], "\uFFFD"), "\x00", "")
	}
	r.Reason, r.Message = clean(r.Reason), clean(r.Message)
	r.Containers = slices.Clone(r.Containers)
	for i := range r.Containers {
		c := &r.Containers[i]
		c.Name, c.State, c.Reason, c.Message = clean(c.Name), clean(c.State), clean(c.Reason), clean(c.Message)
	}
	return r
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
		if err := freeRoom(ctx, q, row); err != nil {
			return err
		}
	}
	if next == husk.PhaseGone && row.Evicted {
		if err := q.RequeuePod(ctx, db.RequeuePodParams{TenantID: row.TenantID, ID: row.ID}); err != nil {
			return err
		}
		if err := q.Notify(ctx, topicWork); err != nil {
			return err
		}
		return record(ctx, q, row.TenantID, "pod", row.ID, "Requeued", "")
	}
	if next == husk.PhaseGone {
		if _, err := q.RemovePod(ctx, db.RemovePodParams{TenantID: row.TenantID, ID: row.ID}); err != nil {
			return err
		}
		if !row.HoldsRoom { // freeing room has touched the node already
			if err := q.TouchNode(ctx, node); err != nil {
				return err
			}
		}
		return record(ctx, q, row.TenantID, "pod", row.ID, "Gone", "")
	}
	if r.Containers == nil {
		r.Containers = []husk.ContainerStatus{}
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
	return notifyTenant(ctx, q, row.TenantID)
}

// freeRoom gives back what a pod held whose virtual machine is gone: its room on the node and, unless it is only evicted, its volumes.
func freeRoom(ctx context.Context, q *db.Queries, row db.Pod) error {
	if err := q.FreeNodeRoom(ctx, db.FreeNodeRoomParams{
		ID: *row.NodeID, CpuMillis: row.CpuMillis, MemoryMib: row.MemoryMib + row.VmmOverheadMib,
	}); err != nil {
		return err
	}
	if err := q.ClearPodRoom(ctx, db.ClearPodRoomParams{TenantID: row.TenantID, ID: row.ID}); err != nil {
		return err
	}
	if row.Evicted { // it will need its volumes again
		return q.Notify(ctx, topicNode(*row.NodeID))
	}
	if err := q.ReleaseClaims(ctx, db.ReleaseClaimsParams{TenantID: row.TenantID, PodID: row.ID}); err != nil {
		return err
	}
	return q.Notify(ctx, topicNode(*row.NodeID))
}
