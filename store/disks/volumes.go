// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/admission"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/envelope"
	"husk/store/hints"
	"husk/store/pgerr"
)

// Change changes a volume of a tenant, and returns the reason of the event about it. The reason is empty if nothing has changed. The
// transaction holds the rows of both.
type Change func(ctx context.Context, q *db.Queries, tenant db.Tenant, row db.Volume) (reason, message string, err error)

// Insert stores a new volume. Codes: quota_exceeded, name_taken, not_found (class); of one that is made from a snapshot also conflict, invalid.
func Insert(ctx context.Context, q *db.Queries, keys *envelope.Keys, tenant db.Tenant, v husk.Volume) (db.Volume, error) {
	use, err := q.VolumeUse(ctx, tenant.ID)
	if err != nil {
		return db.Volume{}, err
	}
	if err := admission.Quota("", "volumes", use.Volumes, 1, tenant.QuotaVolumes); err != nil {
		return db.Volume{}, err
	}
	if err := admission.Quota("sizeGiB", "GiB of volumes and snapshots", use.Gib, v.SizeGiB, tenant.QuotaVolumeGib); err != nil {
		return db.Volume{}, err
	}
	p := db.InsertVolumeParams{TenantID: tenant.ID, ID: v.ID, Name: v.Name, Labels: v.Labels, SizeGib: v.SizeGiB, Flatten: v.Flatten, FsType: cmp.Or(v.FSType, husk.FSExt4)}
	if v.Schedule != nil && v.Schedule.EveryMinutes > 0 {
		p.SnapshotMinutes, p.SnapshotKeep = v.Schedule.EveryMinutes, v.Schedule.Keep
	}
	if v.Source != nil {
		s, err := source(ctx, q, tenant.ID, v.Source.SnapshotID, "source.snapshotId", v.SizeGiB)
		if err != nil {
			return db.Volume{}, err
		}
		if v.FSType != "" && v.FSType != s.FsType {
			return db.Volume{}, otherFileSystem("fsType", s, v.FSType)
		}
		if p.KeyID, err = keyOfCopy(s, v); err != nil {
			return db.Volume{}, err
		}
		p.FsType = s.FsType
		p.SnapshotID = &v.Source.SnapshotID
	}
	if v.Encrypted && v.Source == nil {
		if p.KeyID, err = newKey(ctx, q, keys, tenant.ID); err != nil {
			return db.Volume{}, err
		}
	}
	if v.Upload {
		p.UploadSeconds = new(UploadLease.Seconds())
	}
	if v.Class != "" {
		p.Class = &v.Class
	}
	row, err := q.InsertVolume(ctx, p)
	if pgerr.UniqueViolation(err, "volumes_tenant_id_name_key") {
		err = husk.Errorf(husk.CodeNameTaken, "name", "a volume named %q exists already", v.Name)
	}
	if err != nil {
		return row, withoutClass(err, v.Class)
	}
	return row, withinClass(ctx, q, tenant, row.Class, "class", row.SizeGib)
}

// Grow makes a volume larger. From now on, the tenant pays for the new size: a trigger begins a usage interval. Codes: invalid, conflict, quota_exceeded.
func Grow(sizeGiB int) Change {
	return func(ctx context.Context, q *db.Queries, tenant db.Tenant, row db.Volume) (string, string, error) {
		switch {
		case row.State != husk.VolumeAvailable:
			return "", "", husk.Errorf(husk.CodeConflict, "", "volume %q is %s; its size can be changed once it is %s", row.Name, row.State, husk.VolumeAvailable)
		case sizeGiB < row.SizeGib:
			return "", "", husk.Errorf(husk.CodeInvalid, "sizeGiB", "volume %q has %d GiB, and volumes cannot become smaller", row.Name, row.SizeGib)
		case sizeGiB == row.SizeGib:
			return "", "", nil
		}
		use, err := q.VolumeUse(ctx, tenant.ID)
		if err != nil {
			return "", "", err
		}
		if err := admission.Quota("sizeGiB", "GiB of volumes and snapshots", use.Gib, sizeGiB-row.SizeGib, tenant.QuotaVolumeGib); err != nil {
			return "", "", err
		}
		now, err := q.SetVolumeSize(ctx, db.SetVolumeSizeParams{TenantID: tenant.ID, ID: row.ID, SizeGib: sizeGiB})
		if err != nil {
			return "", "", err
		}
		if err := withinClass(ctx, q, tenant, now.Class, "sizeGiB", sizeGiB-row.SizeGib); err != nil {
			return "", "", err
		}
		return "GrowthRequested", fmt.Sprintf("from %d to %d GiB", row.SizeGib, sizeGiB), nil
	}
}

// Delete marks a volume for deletion. Codes: volume_in_use, conflict.
func Delete(ctx context.Context, q *db.Queries, tenant db.Tenant, row db.Volume) (reason, message string, _ error) {
	pod, err := q.VolumeClaim(ctx, db.VolumeClaimParams{TenantID: tenant.ID, VolumeID: row.ID})
	switch {
	case err == nil:
		return "", "", husk.Errorf(husk.CodeVolumeInUse, "", "volume %q is claimed by pod %s; delete the pod first", row.Name, pod)
	case !errors.Is(err, pgx.ErrNoRows):
		return "", "", err
	case row.State == husk.VolumeDeleting:
		return "", "", nil
	}
	if err := noneInProgress(ctx, q, row, "deleted"); err != nil {
		return "", "", err
	}
	return "DeletionRequested", "", q.SetVolumeDeleting(ctx, db.SetVolumeDeletingParams{TenantID: tenant.ID, ID: row.ID})
}

// Made records that the RBD image of a volume exists, with this ID and header. It reports whether that changed anything. Codes: not_found (the
// volume is gone or is being deleted).
func Made(ctx context.Context, q *db.Queries, tenant, id uuid.UUID, rbdID string, header map[string][]byte) (bool, error) {
	n, err := q.SetVolumeAvailable(ctx, db.SetVolumeAvailableParams{TenantID: tenant, ID: id, RbdID: rbdID, RbdHeader: header})
	if err != nil || n > 0 {
		if err == nil {
			err = q.EndVolume(ctx, db.EndVolumeParams{TenantID: tenant, ID: id}) // of a volume that was restored
		}
		if err == nil {
			err = q.ForgetDiskKeys(ctx, tenant) // as above
		}
		if err == nil {
			err = q.BeginVolume(ctx, db.BeginVolumeParams{TenantID: tenant, ID: id})
		}
		return true, err
	}
	return false, unlessDeleting(ctx, q, tenant, id)
}

// unlessDeleting returns not_found if the volume is gone or is being deleted.
func unlessDeleting(ctx context.Context, q *db.Queries, tenant, id uuid.UUID) error {
	row, err := q.Volume(ctx, db.VolumeParams{TenantID: tenant, ID: id})
	if errors.Is(err, pgx.ErrNoRows) || err == nil && row.Volume.State == husk.VolumeDeleting {
		err = husk.NotFound("volume")
	}
	return err
}

// grown records the size and the header that the RBD image of a volume has now, and tells the node of its pod. Codes: not_found.
func grown(ctx context.Context, q *db.Queries, tenant, id uuid.UUID, rbdID string, sizeGiB int, header map[string][]byte) error {
	_, err := q.SetVolumeGrown(ctx, db.SetVolumeGrownParams{TenantID: tenant, ID: id, RbdID: rbdID, ImageGib: &sizeGiB, RbdHeader: header})
	if errors.Is(err, pgx.ErrNoRows) {
		return husk.NotFound("volume")
	}
	if err != nil {
		return err
	}
	nodes, err := q.VolumeResized(ctx, db.VolumeResizedParams{TenantID: tenant, VolumeID: id})
	if err != nil {
		return err
	}
	return q.Hint(ctx, convert.All(nodes, hints.Node))
}
