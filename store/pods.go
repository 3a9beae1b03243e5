// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store/admission"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/hints"
	"husk/store/pgerr"
	"husk/store/repeats"
)

// CreatePod accepts a request for a pod in one transaction: idempotency key, quota, images, address, volume claims, row and event.
// In a dry run, images and volumes may be missing. Codes: quota_exceeded, name_taken, image_not_found, too_large, not_found (a volume, config or secret),
// volume_in_use, conflict, idempotency_mismatch.
func (t Tenant) CreatePod(ctx context.Context, idem Idempotency, name string, labels, annotations map[string]string, spec husk.PodSpec) (husk.Pod, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Pod, error) {
		tenant, err := q.LockTenant(ctx, t.id)
		if err != nil {
			return husk.Pod{}, pgerr.NotFound(err, "tenant")
		}
		return repeats.Once(ctx, q, t.id, idem, func() (ID, husk.Pod, error) {
			id := uuid.New()
			row, err := admission.Pod(ctx, q, tenant, admission.New{ID: id, Name: name, Labels: labels, Annotations: annotations, Spec: spec})
			if err != nil {
				return id, husk.Pod{}, err
			}
			return id, convert.Pod(row), requested(ctx, q, t.id, "pod", id, "Accepted", "")
		}, func(id ID) (husk.Pod, error) {
			row, err := q.Pod(ctx, db.PodParams{TenantID: t.id, ID: id})
			return convert.Pod(row), err
		})
	})
}

// Pod returns a pod. Codes: not_found.
func (t Tenant) Pod(ctx context.Context, id ID) (husk.Pod, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Pod, error) {
		row, err := q.Pod(ctx, db.PodParams{TenantID: t.id, ID: id})
		return convert.Pod(row), pgerr.NotFound(err, "pod")
	})
}

// Pods lists a tenant's pods, oldest first. Codes: invalid (cursor).
func (t Tenant) Pods(ctx context.Context, page Page, filter Filter) ([]husk.Pod, string, error) {
	return tenantPage(ctx, t, page, func(q *db.Queries, after cursor.Position, limit int) ([]db.Pod, error) {
		return q.Pods(ctx, db.PodsParams{TenantID: t.id, AfterTime: after.At, AfterID: after.ID, Name: filter.Name, Selector: convert.Selector(filter.Labels), Max: limit})
	}, convert.Pod, func(p husk.Pod) (time.Time, ID) { return p.CreatedAt, p.ID })
}

// DeletePod requests that a pod is stopped and removed. A pod that was never placed is removed at once. Codes: not_found,
// conflict, precondition_failed.
func (t Tenant) DeletePod(ctx context.Context, id ID) (husk.Pod, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Pod, error) {
		row, err := q.LockPod(ctx, db.LockPodParams{TenantID: t.id, ID: id})
		if err != nil {
			return husk.Pod{}, pgerr.NotFound(err, "pod")
		}
		if err := ifMatch(ctx, convert.Pod(row)); err != nil {
			return husk.Pod{}, err
		}
		next, ok := row.Phase.Next(husk.EventDelete)
		switch {
		case !ok:
			return husk.Pod{}, husk.Errorf(husk.CodeConflict, "", "pod %q cannot be deleted while %s", row.Name, row.Phase)
		case next == husk.PhaseGone:
			if _, err := q.RemovePod(ctx, db.RemovePodParams{TenantID: t.id, ID: id}); err != nil {
				return husk.Pod{}, err
			}
			row.Phase = husk.PhaseStopping
			return convert.Pod(row), requested(ctx, q, t.id, "pod", id, "DeletionRequested", "")
		case row.Phase != husk.PhaseStopping || row.Evicted:
			if err := q.SetPodStopping(ctx, db.SetPodStoppingParams{TenantID: t.id, ID: id}); err != nil {
				return husk.Pod{}, err
			}
			if err := hint(ctx, q, hints.Node(*row.NodeID)); err != nil {
				return husk.Pod{}, err
			}
			if err := requested(ctx, q, t.id, "pod", id, "DeletionRequested", ""); err != nil {
				return husk.Pod{}, err
			}
		}
		now, err := q.Pod(ctx, db.PodParams{TenantID: t.id, ID: id})
		return convert.Pod(now), err
	})
}

// OpenSession records in the audit log that the caller opens a session in a pod. It returns the pod and its node; placed is false if the pod
// is on no node. detail describes the session, such as a command line. Codes: not_found.
func (t Tenant) OpenSession(ctx context.Context, podID ID, detail string) (pod husk.Pod, node husk.Node, placed bool, err error) {
	type found struct {
		pod  husk.Pod
		node *ID
	}
	f, err := inTenant(ctx, t, func(q *db.Queries) (found, error) {
		row, err := q.Pod(ctx, db.PodParams{TenantID: t.id, ID: podID})
		if err != nil {
			return found{}, pgerr.NotFound(err, "pod")
		}
		return found{convert.Pod(row), row.NodeID}, auditDetail(ctx, q, t.id, "pod", podID.String(), detail)
	})
	if err != nil || f.node == nil {
		return f.pod, husk.Node{}, false, err
	}
	node, err = Control{t.core, t.pools.Lookups}.Node(ctx, *f.node)
	return f.pod, node, err == nil, err
}

// NodeOfPod returns the node of a pod. It returns false if the pod is on no node. Codes: not_found.
func (t Tenant) NodeOfPod(ctx context.Context, podID ID) (husk.Node, bool, error) {
	node, err := inTenant(ctx, t, func(q *db.Queries) (*ID, error) {
		row, err := q.Pod(ctx, db.PodParams{TenantID: t.id, ID: podID})
		return row.NodeID, pgerr.NotFound(err, "pod")
	})
	if err != nil || node == nil {
		return husk.Node{}, false, err
	}
	n, err := Control{t.core, t.pools.Lookups}.Node(ctx, *node)
	return n, err == nil, err
}
