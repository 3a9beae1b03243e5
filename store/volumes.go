// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/admission"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/pgerr"
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
			use, err := q.VolumeUse(ctx, t.id)
			if err != nil {
				return id, husk.Volume{}, err
			}
			if err := admission.Quota("", "volumes", use.Volumes, 1, tenant.QuotaVolumes); err != nil {
				return id, husk.Volume{}, err
			}
			if err := admission.Quota("sizeGiB", "GiB of volumes", use.Gib, sizeGiB, tenant.QuotaVolumeGib); err != nil {
				return id, husk.Volume{}, err
			}
			row, err := q.InsertVolume(ctx, db.InsertVolumeParams{TenantID: t.id, ID: id, Name: name, Labels: labels, SizeGib: sizeGiB})
			if pgerr.UniqueViolation(err, "volumes_tenant_id_name_key") {
				return id, husk.Volume{}, husk.Errorf(husk.CodeNameTaken, "name", "a volume named %q exists already", name)
			}
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
	return inTenant(ctx, t, func(q *db.Queries) (husk.Volume, error) {
		row, err := q.LockVolume(ctx, db.LockVolumeParams{TenantID: t.id, ID: id})
		if err != nil {
			return husk.Volume{}, orNotFound(err, "volume")
		}
		was, err := q.Volume(ctx, db.VolumeParams{TenantID: t.id, ID: id})
		if err != nil {
			return husk.Volume{}, err
		}
		if err := ifMatch(ctx, convert.Volume(was.Volume, was.PodID)); err != nil {
			return husk.Volume{}, err
		}
		pod, err := q.VolumeClaim(ctx, db.VolumeClaimParams{TenantID: t.id, VolumeID: id})
		if err == nil {
			return husk.Volume{}, husk.Errorf(husk.CodeVolumeInUse, "", "volume %q is claimed by pod %s; delete the pod first", row.Name, pod)
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return husk.Volume{}, err
		}
		if row.State != husk.VolumeDeleting {
			if err := q.SetVolumeDeleting(ctx, db.SetVolumeDeletingParams{TenantID: t.id, ID: id}); err != nil {
				return husk.Volume{}, err
			}
			if err := requested(ctx, q, t.id, "volume", id, "DeletionRequested", ""); err != nil {
				return husk.Volume{}, err
			}
		}
		row.State = husk.VolumeDeleting
		return convert.Volume(row, nil), nil
	})
}

// VolumeMade records that the RBD image of a volume exists, with this ID and header. It changes nothing if the volume is being deleted by now.
// Codes: not_found (the volume is gone or is being deleted; the caller removes the RBD image).
func (c Control) VolumeMade(ctx context.Context, v husk.Volume, rbdID string, header map[string][]byte) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		n, err := q.SetVolumeAvailable(ctx, db.SetVolumeAvailableParams{TenantID: v.TenantID, ID: v.ID, RbdID: rbdID, RbdHeader: header})
		if err != nil {
			return err
		}
		if n == 0 {
			row, err := q.Volume(ctx, db.VolumeParams{TenantID: v.TenantID, ID: v.ID})
			if err == nil && row.Volume.State == husk.VolumeDeleting {
				return husk.NotFound("volume")
			}
			return orNotFound(err, "volume")
		}
		if err := q.BeginVolume(ctx, db.BeginVolumeParams{TenantID: v.TenantID, ID: v.ID}); err != nil {
			return err
		}
		return record(ctx, q, v.TenantID, "volume", v.ID, "Available", "")
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
