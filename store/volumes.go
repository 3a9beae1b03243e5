// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/disks"
	"husk/store/pgerr"
	"husk/store/repeats"
)

// CreateVolume accepts a request for an empty volume; see AddVolume.
func (t Tenant) CreateVolume(ctx context.Context, idem Idempotency, name string, labels map[string]string, sizeGiB int) (husk.Volume, error) {
	return t.AddVolume(ctx, idem, husk.Volume{Name: name, Labels: labels, SizeGiB: sizeGiB})
}

// AddVolume accepts a request for a volume; a control loop creates the volume. Codes: quota_exceeded, name_taken, idempotency_mismatch; from a
// snapshot also not_found, conflict, invalid.
func (t Tenant) AddVolume(ctx context.Context, idem Idempotency, v husk.Volume) (husk.Volume, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Volume, error) {
		tenant, err := q.LockTenant(ctx, t.id)
		if err != nil {
			return husk.Volume{}, pgerr.NotFound(err, "tenant")
		}
		return repeats.Once(ctx, q, t.id, idem, func() (ID, husk.Volume, error) {
			id := uuid.New()
			v.ID = id
			row, err := disks.Insert(ctx, q, &t.keys, tenant, v)
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
		return convert.Volume(row.Volume, row.PodID), pgerr.NotFound(err, "volume")
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
	return t.changeVolume(ctx, id, nil, disks.Delete)
}

// GrowVolume makes a volume larger; a control loop and the node of its pod do so. Codes: not_found, invalid, conflict, quota_exceeded,
// precondition_failed.
func (t Tenant) GrowVolume(ctx context.Context, id ID, sizeGiB int) (husk.Volume, error) {
	return t.changeVolume(ctx, id, nil, disks.Grow(sizeGiB))
}

// UpdateVolume changes what is given: the size of a volume, its schedule of snapshots, its class. Codes: not_found, invalid, conflict, quota_exceeded,
// precondition_failed.
func (t Tenant) UpdateVolume(ctx context.Context, id ID, sizeGiB *int, schedule *husk.SnapshotSchedule, class *string) (husk.Volume, error) {
	return t.changeVolume(ctx, id, nil, disks.Update(sizeGiB, schedule, class))
}

// VolumeClasses returns the classes that a volume can have, sorted by name.
func (t Tenant) VolumeClasses(ctx context.Context) ([]husk.VolumeClass, error) {
	return inTenant(ctx, t, func(q *db.Queries) ([]husk.VolumeClass, error) { return disks.ClassesOfTenant(ctx, q) })
}

// RestoreVolume makes the content of a volume that of a snapshot. Codes: not_found, volume_in_use, conflict, invalid,
// precondition_failed, idempotency_mismatch.
func (t Tenant) RestoreVolume(ctx context.Context, idem Idempotency, id, snapshot ID) (husk.Volume, error) {
	return t.changeVolume(ctx, id, &idem, disks.Restore(snapshot))
}

// RenewUpload lets the upload of a volume's content continue. Codes: not_found.
func (t Tenant) RenewUpload(ctx context.Context, id ID) error {
	_, err := inTenant(ctx, t, func(q *db.Queries) (struct{}, error) { return struct{}{}, disks.RenewUpload(ctx, q, t.id, id) })
	return err
}

// RecordExport records that the content of a snapshot is read.
func (t Tenant) RecordExport(ctx context.Context, s husk.Snapshot) error {
	_, err := inTenant(ctx, t, func(q *db.Queries) (struct{}, error) {
		return struct{}{}, requested(ctx, q, t.id, "snapshot", s.ID, "Exported", "")
	})
	return err
}

// CreateSnapshot accepts a request for a snapshot; a control loop makes it. Codes: not_found, conflict, quota_exceeded, name_taken, idempotency_mismatch.
func (t Tenant) CreateSnapshot(ctx context.Context, idem Idempotency, s husk.Snapshot) (husk.Snapshot, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Snapshot, error) {
		tenant, err := q.LockTenant(ctx, t.id)
		if err != nil {
			return husk.Snapshot{}, pgerr.NotFound(err, "tenant")
		}
		return repeats.Once(ctx, q, t.id, idem, func() (ID, husk.Snapshot, error) {
			s.ID = uuid.New()
			row, err := disks.InsertSnapshot(ctx, q, tenant, s)
			if err != nil {
				return s.ID, husk.Snapshot{}, err
			}
			return s.ID, convert.Snapshot(row), requested(ctx, q, t.id, "snapshot", s.ID, "Created", "")
		}, func(id ID) (husk.Snapshot, error) {
			row, err := q.Snapshot(ctx, db.SnapshotParams{TenantID: t.id, ID: id})
			return convert.Snapshot(row), err
		})
	})
}

// Snapshot returns a snapshot. Codes: not_found.
func (t Tenant) Snapshot(ctx context.Context, id ID) (husk.Snapshot, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Snapshot, error) {
		row, err := q.Snapshot(ctx, db.SnapshotParams{TenantID: t.id, ID: id})
		return convert.Snapshot(row), pgerr.NotFound(err, "snapshot")
	})
}

// Snapshots lists a tenant's snapshots, oldest first. Codes: invalid (cursor).
func (t Tenant) Snapshots(ctx context.Context, page Page, filter Filter) ([]husk.Snapshot, string, error) {
	return tenantPage(ctx, t, page, func(q *db.Queries, after cursor.Position, limit int) ([]db.Snapshot, error) {
		return q.Snapshots(ctx, db.SnapshotsParams{TenantID: t.id, AfterTime: after.At, AfterID: after.ID, Name: filter.Name, Selector: convert.Selector(filter.Labels), Max: limit})
	}, convert.Snapshot, func(s husk.Snapshot) (time.Time, ID) { return s.CreatedAt, s.ID })
}

// DeleteSnapshot marks a snapshot for deletion; a control loop removes it. Codes: not_found, snapshot_in_use, precondition_failed.
func (t Tenant) DeleteSnapshot(ctx context.Context, id ID) (husk.Snapshot, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Snapshot, error) {
		if _, err := q.LockTenant(ctx, t.id); err != nil { // first, as when a volume is made from a snapshot
			return husk.Snapshot{}, pgerr.NotFound(err, "tenant")
		}
		row, err := q.LockSnapshot(ctx, db.LockSnapshotParams{TenantID: t.id, ID: id})
		if err != nil {
			return husk.Snapshot{}, pgerr.NotFound(err, "snapshot")
		}
		if err := ifMatch(ctx, convert.Snapshot(row)); err != nil {
			return husk.Snapshot{}, err
		}
		changed, err := disks.DeleteSnapshot(ctx, q, row)
		if err == nil && changed {
			err = requested(ctx, q, t.id, "snapshot", id, "DeletionRequested", "")
		}
		row.State = husk.SnapshotDeleting
		return convert.Snapshot(row), err
	})
}

// changeVolume changes a volume, and records it if that has changed something. The lock of the tenant comes first, as when a volume is created.
// If the request is known by its idempotency key, it only returns the volume.
func (t Tenant) changeVolume(ctx context.Context, id ID, idem *Idempotency, change disks.Change) (husk.Volume, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Volume, error) {
		tenant, err := q.LockTenant(ctx, t.id)
		if err != nil {
			return husk.Volume{}, pgerr.NotFound(err, "tenant")
		}
		read := func(ID) (husk.Volume, error) {
			now, err := q.Volume(ctx, db.VolumeParams{TenantID: t.id, ID: id})
			return convert.Volume(now.Volume, now.PodID), pgerr.NotFound(err, "volume")
		}
		do := func() (ID, husk.Volume, error) {
			row, err := q.LockVolume(ctx, db.LockVolumeParams{TenantID: t.id, ID: id})
			if err != nil {
				return id, husk.Volume{}, pgerr.NotFound(err, "volume")
			}
			was, err := read(id)
			if err == nil {
				err = ifMatch(ctx, was)
			}
			if err != nil {
				return id, husk.Volume{}, err
			}
			reason, message, err := change(ctx, q, tenant, row)
			if err != nil || reason == "" {
				return id, was, err
			}
			if err := requested(ctx, q, t.id, "volume", id, reason, message); err != nil {
				return id, husk.Volume{}, err
			}
			now, err := read(id)
			return id, now, err
		}
		if idem != nil {
			return repeats.Once(ctx, q, t.id, *idem, do, read)
		}
		_, v, err := do()
		return v, err
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

// Copies returns what the control loops record of snapshots.
func (c Control) Copies() disks.Copies {
	return disks.Copies{Do: func(ctx context.Context, f func(*db.Queries) error) error { return controlDo(ctx, c, f) }, Record: record, Audit: auditPlatform}
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
		if err := q.ForgetDiskKeys(ctx, v.TenantID); err != nil {
			return err
		}
		return record(ctx, q, v.TenantID, "volume", v.ID, "Deleted", "")
	})
}
