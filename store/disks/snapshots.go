// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"context"
	"errors"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/admission"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/pgerr"
)

// InsertSnapshot stores a new snapshot of a volume. Codes: not_found, conflict, quota_exceeded, name_taken.
func InsertSnapshot(ctx context.Context, q *db.Queries, tenant db.Tenant, s husk.Snapshot) (db.Snapshot, error) {
	volume, err := q.LockVolume(ctx, db.LockVolumeParams{TenantID: tenant.ID, ID: s.VolumeID})
	if errors.Is(err, pgx.ErrNoRows) {
		return db.Snapshot{}, husk.Errorf(husk.CodeNotFound, "volumeId", "there is no such volume")
	}
	if err != nil {
		return db.Snapshot{}, err
	}
	if volume.State != husk.VolumeAvailable {
		return db.Snapshot{}, husk.Errorf(husk.CodeConflict, "volumeId", "volume %q is %s; create the snapshot once it is %s", volume.Name, volume.State, husk.VolumeAvailable)
	}
	if s.Consistent && volume.FsType == husk.FSNone {
		return db.Snapshot{}, husk.Errorf(husk.CodeInvalid, "consistent", "volume %q has no file system to freeze; leave consistent out", volume.Name)
	}
	if err := noneInProgress(ctx, q, volume, "snapshotted again"); err != nil {
		return db.Snapshot{}, err
	}
	use, err := q.VolumeUse(ctx, tenant.ID)
	if err != nil {
		return db.Snapshot{}, err
	}
	if err := admission.Quota("", "snapshots", use.Snapshots, 1, tenant.QuotaSnapshots); err != nil {
		return db.Snapshot{}, err
	}
	if err := admission.Quota("", "GiB of volumes and snapshots", use.Gib, volume.SizeGib, tenant.QuotaVolumeGib); err != nil {
		return db.Snapshot{}, err
	}
	row, err := q.InsertSnapshot(ctx, db.InsertSnapshotParams{
		TenantID: tenant.ID, ID: s.ID, Name: s.Name, Labels: s.Labels, VolumeID: volume.ID, VolumeName: volume.Name, SizeGib: volume.SizeGib, FsType: volume.FsType, Scheduled: s.Scheduled, Consistent: s.Consistent, KeyID: volume.KeyID,
	})
	if pgerr.UniqueViolation(err, "snapshots_tenant_id_name_key") {
		err = husk.Errorf(husk.CodeNameTaken, "name", "a snapshot named %q exists already", s.Name)
	}
	return row, err
}

// noneInProgress refuses a change of a volume whose content is still being copied. Codes: conflict.
func noneInProgress(ctx context.Context, q *db.Queries, v db.Volume, change string) error {
	going, err := q.SnapshotsInProgress(ctx, db.SnapshotsInProgressParams{TenantID: v.TenantID, VolumeID: v.ID})
	if err != nil || len(going) == 0 {
		return err
	}
	names := convert.All(going, func(s db.Snapshot) string { return s.Name })
	return husk.Errorf(husk.CodeConflict, "", "volume %q is being copied to the snapshot %s; it can be %s once the snapshot is %s or deleted",
		v.Name, strings.Join(names, ", "), change, husk.SnapshotReady)
}

// source returns a snapshot that a volume of this size can be made from. Codes: not_found, conflict, invalid.
func source(ctx context.Context, q *db.Queries, tenant, id uuid.UUID, field string, sizeGiB int) (db.Snapshot, error) {
	s, err := q.LockSnapshot(ctx, db.LockSnapshotParams{TenantID: tenant, ID: id})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return s, husk.Errorf(husk.CodeNotFound, field, "there is no such snapshot")
	case err != nil:
		return s, err
	case s.State != husk.SnapshotReady:
		return s, husk.Errorf(husk.CodeConflict, field, "snapshot %q is %s; it can be used once it is %s", s.Name, s.State, husk.SnapshotReady)
	case sizeGiB < s.SizeGib:
		return s, husk.Errorf(husk.CodeInvalid, "sizeGiB", "snapshot %q has %d GiB, and the volume cannot be smaller", s.Name, s.SizeGib)
	}
	return s, nil
}

func otherFileSystem(field string, s db.Snapshot, fsType string) error {
	return husk.Errorf(husk.CodeInvalid, field, "snapshot %q has the file system %s, and the volume has %s; both must have the same", s.Name, s.FsType, fsType)
}

// Restore makes the content of a volume that of a snapshot. Codes: volume_in_use, conflict, not_found, invalid.
func Restore(snapshot uuid.UUID) Change {
	return func(ctx context.Context, q *db.Queries, tenant db.Tenant, row db.Volume) (string, string, error) {
		pod, err := q.VolumeClaim(ctx, db.VolumeClaimParams{TenantID: tenant.ID, VolumeID: row.ID})
		switch {
		case err == nil:
			return "", "", husk.Errorf(husk.CodeVolumeInUse, "", "volume %q is claimed by pod %s; delete the pod first", row.Name, pod)
		case !errors.Is(err, pgx.ErrNoRows):
			return "", "", err
		case row.State != husk.VolumeAvailable:
			return "", "", husk.Errorf(husk.CodeConflict, "", "volume %q is %s; it can be restored once it is %s", row.Name, row.State, husk.VolumeAvailable)
		}
		if err := noneInProgress(ctx, q, row, "restored"); err != nil {
			return "", "", err
		}
		s, err := source(ctx, q, tenant.ID, snapshot, "snapshotId", row.SizeGib)
		if err != nil {
			return "", "", err
		}
		if s.FsType != row.FsType {
			return "", "", otherFileSystem("snapshotId", s, row.FsType)
		}
		if (s.KeyID == nil) != (row.KeyID == nil) {
			return "", "", husk.Errorf(husk.CodeInvalid, "snapshotId", "only one of snapshot %q and volume %q is encrypted; both or neither must be", s.Name, row.Name)
		}
		return "RestoreRequested", "from snapshot " + s.Name, q.SetVolumeRestoring(ctx, db.SetVolumeRestoringParams{TenantID: tenant.ID, ID: row.ID, SnapshotID: s.ID, KeyID: s.KeyID})
	}
}

// DeleteSnapshot marks a snapshot for deletion. It reports whether that changed anything. Codes: snapshot_in_use.
func DeleteSnapshot(ctx context.Context, q *db.Queries, row db.Snapshot) (bool, error) {
	if row.State == husk.SnapshotDeleting {
		return false, nil
	}
	volumes, err := q.VolumesOfSnapshot(ctx, db.VolumesOfSnapshotParams{TenantID: row.TenantID, SnapshotID: row.ID})
	if err != nil {
		return false, err
	}
	if len(volumes) > 0 {
		return false, husk.Errorf(husk.CodeSnapshotInUse, "", "the volumes %s share the data of snapshot %q; delete them first", strings.Join(volumes, ", "), row.Name)
	}
	const most = 5
	pods, err := q.PodsOfSnapshot(ctx, db.PodsOfSnapshotParams{TenantID: row.TenantID, SnapshotID: row.ID, Max: most + 1})
	if err != nil {
		return false, err
	}
	if len(pods) > most {
		pods[most] = "and others"
	}
	if len(pods) > 0 {
		return false, husk.Errorf(husk.CodeSnapshotInUse, "", "pods have snapshot %q attached: %s; delete them first", row.Name, strings.Join(pods, ", "))
	}
	return true, q.SetSnapshotDeleting(ctx, db.SetSnapshotDeletingParams{TenantID: row.TenantID, ID: row.ID})
}
