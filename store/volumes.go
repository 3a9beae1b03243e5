package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/db"
)

func volumeOf(v db.Volume, podID *ID) husk.Volume {
	if podID != nil && v.State == husk.VolumeAvailable {
		v.State = husk.VolumeInUse
	}
	return husk.Volume{
		ID: v.ID, TenantID: v.TenantID, Name: v.Name, Labels: v.Labels, SizeGiB: v.SizeGib, State: v.State, Message: v.Message,
		PodID: podID, CreatedAt: v.CreatedAt,
	}
}

// CreateVolume accepts an order for a volume; a control loop makes it. Codes: quota_exceeded, name_taken, idempotency_mismatch.
func (s *Store) CreateVolume(ctx context.Context, tenantID ID, idem Idempotency, name string, labels map[string]string, sizeGiB int) (husk.Volume, error) {
	return inTenant(ctx, s, tenantID, func(q *db.Queries) (husk.Volume, error) {
		tenant, err := q.LockTenant(ctx, tenantID)
		if err != nil {
			return husk.Volume{}, orNotFound(err, "tenant")
		}
		volume, err := creating(ctx, q, tenantID, idem, func() (ID, husk.Volume, error) {
			id := uuid.New()
			use, err := q.VolumeUse(ctx, tenantID)
			if err != nil {
				return id, husk.Volume{}, err
			}
			if err := checkQuota("", "volumes", use.Volumes, 1, tenant.QuotaVolumes); err != nil {
				return id, husk.Volume{}, err
			}
			if err := checkQuota("sizeGiB", "GiB of volumes", use.Gib, sizeGiB, tenant.QuotaVolumeGib); err != nil {
				return id, husk.Volume{}, err
			}
			row, err := q.InsertVolume(ctx, db.InsertVolumeParams{TenantID: tenantID, ID: id, Name: name, Labels: labels, SizeGib: sizeGiB})
			if uniqueViolation(err, "volumes_tenant_id_name_key") {
				return id, husk.Volume{}, husk.Errorf(husk.CodeNameTaken, "name", "a volume named %q exists already", name)
			}
			if err != nil {
				return id, husk.Volume{}, err
			}
			return id, volumeOf(row, nil), ordered(ctx, q, tenantID, "volume", id, "Created", "")
		})
		volume.TenantID = tenantID // a kept answer is in the form of the wire, which does not have it
		return volume, err
	})
}

// Volume returns a volume. Codes: not_found.
func (s *Store) Volume(ctx context.Context, tenantID, id ID) (husk.Volume, error) {
	return inTenant(ctx, s, tenantID, func(q *db.Queries) (husk.Volume, error) {
		row, err := q.Volume(ctx, db.VolumeParams{TenantID: tenantID, ID: id})
		return volumeOf(row.Volume, row.PodID), orNotFound(err, "volume")
	})
}

// Volumes lists a tenant's volumes, oldest first. Codes: invalid (cursor).
func (s *Store) Volumes(ctx context.Context, tenantID ID, page Page, filter Filter) ([]husk.Volume, string, error) {
	l, err := inTenant(ctx, s, tenantID, func(q *db.Queries) (l list[husk.Volume], err error) {
		l.items, l.next, err = paged(page, func(after position, limit int) ([]db.VolumesRow, error) {
			return q.Volumes(ctx, db.VolumesParams{TenantID: tenantID, AfterTime: after.at, AfterID: after.id, Name: filter.Name, Selector: filter.Labels.json(), Max: limit})
		}, func(r db.VolumesRow) husk.Volume { return volumeOf(r.Volume, r.PodID) },
			func(v husk.Volume) (time.Time, ID) { return v.CreatedAt, v.ID })
		return l, err
	})
	return l.items, l.next, err
}

// DeleteVolume marks a volume for deletion; a control loop removes it. Codes: not_found, volume_in_use, precondition_failed.
func (s *Store) DeleteVolume(ctx context.Context, tenantID, id ID) (husk.Volume, error) {
	return inTenant(ctx, s, tenantID, func(q *db.Queries) (husk.Volume, error) {
		row, err := q.LockVolume(ctx, db.LockVolumeParams{TenantID: tenantID, ID: id})
		if err != nil {
			return husk.Volume{}, orNotFound(err, "volume")
		}
		was, err := q.Volume(ctx, db.VolumeParams{TenantID: tenantID, ID: id})
		if err != nil {
			return husk.Volume{}, err
		}
		if err := ifMatch(ctx, volumeOf(was.Volume, was.PodID)); err != nil {
			return husk.Volume{}, err
		}
		pod, err := q.VolumeClaim(ctx, db.VolumeClaimParams{TenantID: tenantID, VolumeID: id})
		if err == nil {
			return husk.Volume{}, husk.Errorf(husk.CodeVolumeInUse, "", "volume %q is claimed by pod %s; delete the pod first", row.Name, pod)
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return husk.Volume{}, err
		}
		if row.State != husk.VolumeDeleting {
			if err := q.SetVolumeDeleting(ctx, db.SetVolumeDeletingParams{TenantID: tenantID, ID: id}); err != nil {
				return husk.Volume{}, err
			}
			if err := ordered(ctx, q, tenantID, "volume", id, "DeletionRequested", ""); err != nil {
				return husk.Volume{}, err
			}
		}
		row.State = husk.VolumeDeleting
		return volumeOf(row, nil), nil
	})
}

// UnfinishedVolumes returns volumes of all tenants that are to be made or removed.
func (s *Store) UnfinishedVolumes(ctx context.Context) ([]husk.Volume, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]husk.Volume, error) {
		rows, err := q.UnfinishedVolumes(ctx)
		return convertAll(rows, func(v db.Volume) husk.Volume { return volumeOf(v, nil) }), err
	})
}

// VolumeMade records that the RBD image of a volume is complete. It changes nothing if the volume is to be deleted by now.
func (s *Store) VolumeMade(ctx context.Context, v husk.Volume, rbdID string) error {
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) {
		n, err := q.SetVolumeAvailable(ctx, db.SetVolumeAvailableParams{TenantID: v.TenantID, ID: v.ID, RbdID: rbdID})
		if err != nil || n == 0 {
			return struct{}{}, err
		}
		if err := q.BeginVolume(ctx, db.BeginVolumeParams{TenantID: v.TenantID, ID: v.ID}); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, record(ctx, q, v.TenantID, "volume", v.ID, "Available", "")
	})
	return err
}

// VolumeTrouble records why a volume cannot be made or removed at the moment.
func (s *Store) VolumeTrouble(ctx context.Context, v husk.Volume, message string) error {
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) {
		return struct{}{}, q.SetVolumeMessage(ctx, db.SetVolumeMessageParams{TenantID: v.TenantID, ID: v.ID, Message: message})
	})
	return err
}

// VolumeRemoved forgets a volume whose RBD image is gone.
func (s *Store) VolumeRemoved(ctx context.Context, v husk.Volume) error {
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) {
		if err := q.RemoveVolume(ctx, db.RemoveVolumeParams{TenantID: v.TenantID, ID: v.ID}); err != nil {
			return struct{}{}, err
		}
		if err := q.EndVolume(ctx, db.EndVolumeParams{TenantID: v.TenantID, ID: v.ID}); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, record(ctx, q, v.TenantID, "volume", v.ID, "Deleted", "")
	})
	return err
}

// VolumeNames returns the names of the RBD images that volumes own, whatever their state. What else is in the pool is an orphan.
func (s *Store) VolumeNames(ctx context.Context) (map[string]bool, error) {
	return inControl(ctx, s, func(q *db.Queries) (map[string]bool, error) {
		ids, err := q.AllVolumeIDs(ctx)
		names := map[string]bool{}
		for _, id := range ids {
			names[husk.Volume{ID: id}.RBDName()] = true
		}
		return names, err
	})
}

// ordered is record for what a request asked for: the author is written down too.
func ordered(ctx context.Context, q *db.Queries, tenantID ID, kind string, id ID, reason, message string) error {
	if err := audit(ctx, q, tenantID, kind, id.String()); err != nil {
		return err
	}
	return record(ctx, q, tenantID, kind, id, reason, message)
}

// record writes an event and wakes whoever may care.
func record(ctx context.Context, q *db.Queries, tenantID ID, kind string, id ID, reason, message string) error {
	if err := q.InsertEvent(ctx, db.InsertEventParams{TenantID: tenantID, Kind: kind, ObjectID: id, Reason: reason, Message: message}); err != nil {
		return err
	}
	return notifyWork(ctx, q, tenantID)
}
