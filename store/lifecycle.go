// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"

	"husk"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/lifecycle"
	"husk/store/pgerr"
)

// StopPod stops a pod until it is started. Codes: not_found, conflict, precondition_failed.
func (t Tenant) StopPod(ctx context.Context, id ID) (husk.Pod, error) {
	return t.changePod(ctx, id, "StopRequested", lifecycle.Stop)
}

// StartPod starts a pod that is stopped or has ended. Codes: not_found, conflict, precondition_failed, quota_exceeded, volume_in_use.
func (t Tenant) StartPod(ctx context.Context, id ID) (husk.Pod, error) {
	return t.changePod(ctx, id, "StartRequested", lifecycle.Start)
}

// RestartPod stops a pod and starts it again. Codes: as StartPod.
func (t Tenant) RestartPod(ctx context.Context, id ID) (husk.Pod, error) {
	return t.changePod(ctx, id, "RestartRequested", lifecycle.Restart)
}

// UpdatePod changes name, labels, annotations and security groups. Codes: not_found, conflict, invalid, name_taken, precondition_failed.
func (t Tenant) UpdatePod(ctx context.Context, id ID, n lifecycle.Names) (husk.Pod, error) {
	return t.changePod(ctx, id, "Changed", n.Update)
}

// ResizePod changes the size of a pod, also while it runs. Codes: not_found, conflict, invalid, precondition_failed, quota_exceeded.
func (t Tenant) ResizePod(ctx context.Context, id ID, size lifecycle.Size) (husk.Pod, error) {
	return t.changePod(ctx, id, "ResizeRequested", size.Resize)
}

// changePod changes a pod, and records it if that has changed something. A pod that is being deleted cannot be changed. The lock of the tenant
// comes first, as when a pod is created.
func (t Tenant) changePod(ctx context.Context, id ID, event string, change lifecycle.Change) (husk.Pod, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Pod, error) {
		tenant, err := q.LockTenant(ctx, t.id)
		if err != nil {
			return husk.Pod{}, pgerr.NotFound(err, "tenant")
		}
		row, err := q.LockPod(ctx, db.LockPodParams{TenantID: t.id, ID: id})
		if err != nil {
			return husk.Pod{}, pgerr.NotFound(err, "pod")
		}
		if err := ifMatch(ctx, convert.Pod(row)); err != nil {
			return husk.Pod{}, err
		}
		if row.DeletionRequestedAt != nil {
			return husk.Pod{}, husk.Errorf(husk.CodeConflict, "", "pod %q is being deleted", row.Name)
		}
		changed, err := change(ctx, q, tenant, row)
		if err != nil || !changed {
			return convert.Pod(row), err
		}
		if err := requested(ctx, q, t.id, "pod", id, event, ""); err != nil {
			return husk.Pod{}, err
		}
		now, err := q.Pod(ctx, db.PodParams{TenantID: t.id, ID: id})
		return convert.Pod(now), err
	})
}
