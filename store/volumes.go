// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/disks"
)

// CreateVolume accepts a request for a volume; a control loop creates the volume. Codes: quota_exceeded, name_taken, idempotency_mismatch.
func (t Tenant) CreateVolume(ctx context.Context, idem Idempotency, name string, labels map[string]string, sizeGiB int) (husk.Volume, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Volume, error) {
		tenant, err := q.LockTenant(ctx, t.id)
		if err != nil {
			return husk.Volume{}, orNotFound(err, "tenant")
		}
		return creating(ctx, q, t.id, idem, func() (ID, husk.Volume, error) {
			id := uuid.New()
			row, err := disks.Insert(ctx, q, tenant, husk.Volume{ID: id, Name: name, Labels: labels, SizeGiB: sizeGiB})
			if err != nil {
				return id, husk.Volume{}, err
			}
			return id, convert.Volume(row, nil), requested(ctx, q, t.id, "volume", id, "Created", "")
		}, func(id ID) (husk.Volume, error) {
			row, err := q.Volume(ctx, db.VolumeParams{TenantID: t.id, ID: id})
			return convert.Volume(row.Volume, row.PodID), err
		})
	})
}

// Volume returns a volume. Codes: not_found.
func (t Tenant) Volume(ctx context.Context, id ID) (husk.Volume, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Volume, error) {
		row, err := q.Volume(ctx, db.VolumeParams{TenantID: t.id, ID: id})
		return convert.Volume(row.Volume, row.PodID), orNotFound(err, "volume")
	})
}

// Volumes lists a tenant's volumes, oldest first. Codes: invalid (cursor).
func (t Tenant) Volumes(ctx context.Context, page Page, filter Filter) ([]husk.Volume, string, error) {
	return tenantPage(ctx, t, page, func(q *db.Queries, after cursor.Position, limit int) ([]db.VolumesRow, error) {
		return q.Volumes(ctx, db.VolumesParams{TenantID: t.id, AfterTime: after.At, AfterID: after.ID, Name: filter.Name, Selector: convert.Selector(filter.Labels), Max: limit})
	}, func(r db.VolumesRow) husk.Volume { return convert.Volume(r.Volume, r.PodID) }, func(v husk.Volume) (time.Time, ID) { return v.CreatedAt, v.ID })
}

// DeleteVolume marks a volume for deletion; a control loop removes it. Codes: not_found, volume_in_use, precondition_failed.
func (t Tenant) DeleteVolume(ctx context.Context, id ID) (husk.Volume, error) {
	return t.changeVolume(ctx, id, disks.Delete)
}

// GrowVolume makes a volume larger; a control loop and the node of its pod do so. Codes: not_found, invalid, conflict, quota_exceeded,
// precondition_failed.
func (t Tenant) GrowVolume(ctx context.Context, id ID, sizeGiB int) (husk.Volume, error) {
	return t.changeVolume(ctx, id, disks.Grow(sizeGiB))
}

// changeVolume changes a volume, and records it if that has changed something. The lock of the tenant comes first, as when a volume is created.
func (t Tenant) changeVolume(ctx context.Context, id ID, change disks.Change) (husk.Volume, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Volume, error) {
		tenant, err := q.LockTenant(ctx, t.id)
		if err != nil {
			return husk.Volume{}, orNotFound(err, "tenant")
		}
		row, err := q.LockVolume(ctx, db.LockVolumeParams{TenantID: t.id, ID: id})
		if err != nil {
			return husk.Volume{}, orNotFound(err, "volume")
		}
		read := func() (husk.Volume, error) {
			now, err := q.Volume(ctx, db.VolumeParams{TenantID: t.id, ID: id})
			return convert.Volume(now.Volume, now.PodID), err
		}
		was, err := read()
		if err != nil {
			return husk.Volume{}, err
		}
		if err := ifMatch(ctx, was); err != nil {
			return husk.Volume{}, err
		}
		reason, message, err := change(ctx, q, tenant, row)
		if err != nil || reason == "" {
			return was, err
		}
		if err := requested(ctx, q, t.id, "volume", id, reason, message); err != nil {
			return husk.Volume{}, err
		}
		return read()
	})
}

// VolumeMade records that the RBD image of a volume exists, with this ID and header. It changes nothing if the volume is being deleted by now.
// Codes: not_found (the volume is gone or is being deleted; the caller removes the RBD image).
func (c Control) VolumeMade(ctx context.Context, v husk.Volume, rbdID string, header map[string][]byte) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		if changed, err := disks.Made(ctx, q, v.TenantID, v.ID, rbdID, header); err != nil || !changed {
			return err
		}
		return record(ctx, q, v.TenantID, "volume", v.ID, "Available", "")
	})
}

// VolumeGrown records that the RBD image of a volume has another size and header. Codes: not_found.
func (c Control) VolumeGrown(ctx context.Context, w Work, sizeGiB int, d disks.Disk) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		if err := disks.Grown(ctx, q, w.TenantID, w.ObjectID, d.RBDID, sizeGiB, d.Header); err != nil {
			return err
		}
		return record(ctx, q, w.TenantID, "volume", w.ObjectID, "Grown", fmt.Sprintf("the volume has %d GiB", sizeGiB))
	})
}

// VolumeTrouble records why a volume cannot be created or removed at the moment.
func (c Control) VolumeTrouble(ctx context.Context, v husk.Volume, message string) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		return q.SetVolumeMessage(ctx, db.SetVolumeMessageParams{TenantID: v.TenantID, ID: v.ID, Message: message})
	})
}

// VolumeRemoved deletes the row of a volume whose RBD image was deleted.
func (c Control) VolumeRemoved(ctx context.Context, v husk.Volume) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		if err := q.RemoveVolume(ctx, db.RemoveVolumeParams{TenantID: v.TenantID, ID: v.ID}); err != nil {
			return err
		}
		if err := q.EndVolume(ctx, db.EndVolumeParams{TenantID: v.TenantID, ID: v.ID}); err != nil {
			return err
		}
		return record(ctx, q, v.TenantID, "volume", v.ID, "Deleted", "")
	})
}

// VolumeNames returns the names of the RBD images of all volumes, whatever their state. Anything else in the pool is an orphan.
func (c Control) VolumeNames(ctx context.Context) (map[string]bool, error) {
	return inControl(ctx, c, func(q *db.Queries) (map[string]bool, error) {
		ids, err := q.AllVolumeIDs(ctx)
		names := map[string]bool{}
		for _, id := range ids {
			names[husk.Volume{ID: id}.RBDName()] = true
		}
		return names, err
	})
}
