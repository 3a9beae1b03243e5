// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/hints"
	"husk/store/pgerr"
	"husk/store/pools"
)

// CreatePod accepts a request for a pod in one transaction: idempotency key, quota, images, address, volume claims, row and event.
// In a dry run, images and volumes may be missing. Codes: quota_exceeded, name_taken, image_not_found, too_large, not_found (a volume),
// volume_in_use, conflict, idempotency_mismatch.
func (t Tenant) CreatePod(ctx context.Context, idem Idempotency, name string, labels map[string]string, spec husk.PodSpec) (husk.Pod, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Pod, error) {
		tenant, err := q.LockTenant(ctx, t.id)
		if err != nil {
			return husk.Pod{}, orNotFound(err, "tenant")
		}
		return creating(ctx, q, t.id, idem, func() (ID, husk.Pod, error) {
			id := uuid.New()
			if err := checkPodQuota(ctx, q, tenant, spec); err != nil {
				return id, husk.Pod{}, err
			}
			images, err := findImages(ctx, q, t.id, spec)
			if err != nil {
				return id, husk.Pod{}, err
			}
			row, err := insertPod(ctx, q, t.id, id, name, labels, spec)
			if err != nil {
				return id, husk.Pod{}, err
			}
			for i, c := range spec.Containers {
				if images[i] == uuid.Nil {
					continue
				}
				if err := q.UseImage(ctx, db.UseImageParams{TenantID: t.id, PodID: id, Container: c.Name, ImageID: images[i]}); err != nil {
					return id, husk.Pod{}, err
				}
			}
			for i, v := range spec.Volumes {
				if err := claimVolume(ctx, q, t.id, id, v.VolumeID, fmt.Sprintf("spec.volumes[%d].volumeId", i)); err != nil {
					return id, husk.Pod{}, err
				}
			}
			return id, convert.Pod(row), requested(ctx, q, t.id, "pod", id, "Accepted", "")
		}, func(id ID) (husk.Pod, error) {
			row, err := q.Pod(ctx, db.PodParams{TenantID: t.id, ID: id})
			return convert.Pod(row), err
		})
	})
}

func checkPodQuota(ctx context.Context, q *db.Queries, tenant db.Tenant, spec husk.PodSpec) error {
	size := spec.Resources
	if spec.Scheduling != nil && spec.Scheduling.Priority > tenant.QuotaPriority {
		return husk.Errorf(husk.CodeQuotaExceeded, "spec.scheduling.priority", "the tenant's quota allows priorities up to %d", tenant.QuotaPriority)
	}
	use, err := q.PodUse(ctx, tenant.ID)
	if err != nil {
		return err
	}
	if err := checkQuota("", "pods", use.Pods, 1, tenant.QuotaPods); err != nil {
		return err
	}
	if err := checkQuota("", "addresses", use.Pods, 1, tenant.QuotaAddresses); err != nil { // a pod has one address as long as its row exists
		return err
	}
	if err := checkQuota("spec.resources.cpuMillis", "thousandths of a core", use.CpuMillis, size.CPUMillis, tenant.QuotaCpuMillis); err != nil {
		return err
	}
	return checkQuota("spec.resources.memoryMiB", "MiB of memory", use.MemoryMib, size.MemoryMiB, tenant.QuotaMemoryMib)
}

// findImages returns the tenant's image for each container, and locks the images until the transaction ends. Codes: too_large (for a guest),
// invalid (could never start).
func findImages(ctx context.Context, q *db.Queries, tenantID ID, spec husk.PodSpec) ([]ID, error) {
	ids := make([]ID, 0, len(spec.Containers))
	merged := make([]husk.DesiredContainer, 0, len(spec.Containers))
	known := true // a dry run need not know the images
	for i, c := range spec.Containers {
		row, err := q.ImageByReference(ctx, db.ImageByReferenceParams{TenantID: tenantID, Reference: c.Image})
		if errors.Is(err, pgx.ErrNoRows) && !pools.IsDryRun(ctx) {
			return nil, husk.Errorf(husk.CodeImageNotFound, fmt.Sprintf("spec.containers[%d].image", i),
				"the tenant has not imported an image %q; import it first", c.Image)
		}
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return nil, err
		}
		known = known && err == nil
		ids = append(ids, row.ID)
		merged = append(merged, husk.MergeContainer(c, row.Config))
	}
	if err := husk.CheckStart(merged); known && err != nil {
		return nil, err
	}
	return ids, husk.CheckGuestSize(merged, husk.MaxGuestBytes)
}

func insertPod(ctx context.Context, q *db.Queries, tenantID, id ID, name string, labels map[string]string, spec husk.PodSpec) (db.Pod, error) {
	network, err := q.TenantNetwork(ctx, tenantID)
	if err != nil {
		return db.Pod{}, err
	}
	address, err := q.FreeAddress(ctx, db.FreeAddressParams{TenantID: tenantID, NetworkID: network.ID})
	if errors.Is(err, pgx.ErrNoRows) {
		return db.Pod{}, husk.Errorf(husk.CodeQuotaExceeded, "", "the network %s has no free address; delete pods first", network.Cidr)
	}
	if err != nil {
		return db.Pod{}, err
	}
	stored := spec
	stored.Scheduling = nil // it has a column of its own, which the scheduler reads without the spec
	p := db.InsertPodParams{
		TenantID: tenantID, ID: id, Name: name, Labels: labels, Spec: stored, CpuMillis: spec.Resources.CPUMillis,
		MemoryMib: spec.Resources.MemoryMiB, NetworkID: network.ID, Address: address, Mac: convert.MAC(id),
	}
	if sched := spec.Scheduling; sched != nil {
		p.Priority = sched.Priority
		if sched.Gang != nil {
			p.Gang = sched.Gang.Name
		}
		if p.Scheduling, err = json.Marshal(sched); err != nil {
			return db.Pod{}, err
		}
	}
	row, err := q.InsertPod(ctx, p)
	if pgerr.UniqueViolation(err, "pods_tenant_id_name_key") {
		return db.Pod{}, husk.Errorf(husk.CodeNameTaken, "name", "a pod named %q exists already", name)
	}
	return row, err
}

func claimVolume(ctx context.Context, q *db.Queries, tenantID, podID, volumeID ID, field string) error {
	row, err := q.LockVolume(ctx, db.LockVolumeParams{TenantID: tenantID, ID: volumeID})
	if errors.Is(err, pgx.ErrNoRows) && pools.IsDryRun(ctx) {
		return nil
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return husk.Errorf(husk.CodeNotFound, field, "there is no such volume")
	}
	if err != nil {
		return err
	}
	if row.State == husk.VolumeDeleting {
		return husk.Errorf(husk.CodeConflict, field, "volume %q is being deleted", row.Name)
	}
	n, err := q.ClaimVolume(ctx, db.ClaimVolumeParams{TenantID: tenantID, VolumeID: volumeID, PodID: podID})
	if err == nil && n == 0 {
		return husk.Errorf(husk.CodeVolumeInUse, field, "volume %q is claimed by another pod; delete that pod first", row.Name)
	}
	return err
}

// Pod returns a pod. Codes: not_found.
func (t Tenant) Pod(ctx context.Context, id ID) (husk.Pod, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Pod, error) {
		row, err := q.Pod(ctx, db.PodParams{TenantID: t.id, ID: id})
		return convert.Pod(row), orNotFound(err, "pod")
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
			return husk.Pod{}, orNotFound(err, "pod")
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
			return found{}, orNotFound(err, "pod")
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
		return row.NodeID, orNotFound(err, "pod")
	})
	if err != nil || node == nil {
		return husk.Node{}, false, err
	}
	n, err := Control{t.core, t.pools.Lookups}.Node(ctx, *node)
	return n, err == nil, err
}
