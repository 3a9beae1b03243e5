// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/hints"
)

// Copies is what the control loops record while they copy volumes to snapshots and remove what nobody owns. Get it from store.Control.Copies.
type Copies struct {
	Do     func(ctx context.Context, f func(q *db.Queries) error) error // runs a transaction
	Audit  func(ctx context.Context, q *db.Queries, kind, id string) error
	Record func(ctx context.Context, q *db.Queries, tenant uuid.UUID, kind string, id uuid.UUID, reason, message string) error
}

// ToCopy is a snapshot that is made or removed.
type ToCopy struct {
	Name   string // of its RBD image
	View   Disk   // that pods attach; without an RBDID, it was never recorded
	Volume *Disk  // nil: it is gone
	Number uint64 // in RADOS; 0: none
	Taken  bool
	// Consistent is whether the file system has to be frozen, if there is a User: the pod that has the volume attached.
	Consistent bool
	User       User
	Serial     string // of the volume's disk in that pod
}

// User is a pod that has a volume attached. It is empty if there is none.
type User struct {
	Pod  uuid.UUID
	Node husk.Node
}

// Same reports whether it is the same pod on the same node.
func (u User) Same(as User) bool { return u.Pod == as.Pod && u.Node.ID == as.Node.ID }

// Snapshot returns a snapshot with its volume. Codes: not_found.
func (c Copies) Snapshot(ctx context.Context, tenant, id uuid.UUID) (s ToCopy, err error) {
	err = c.Do(ctx, func(q *db.Queries) error {
		s, err = copied(ctx, q, tenant, id)
		return err
	})
	return s, err
}

func copied(ctx context.Context, q *db.Queries, tenant, id uuid.UUID) (ToCopy, error) {
	row, err := q.Snapshot(ctx, db.SnapshotParams{TenantID: tenant, ID: id})
	if errors.Is(err, pgx.ErrNoRows) {
		err = husk.NotFound("snapshot")
	}
	if err != nil {
		return ToCopy{}, err
	}
	c := ToCopy{Name: convert.Snapshot(row).RBDName(), View: OfSnapshot(row), Taken: row.TakenAt != nil, Consistent: row.Consistent, Serial: husk.Volume{ID: row.VolumeID}.Serial()}
	if user, err := q.VolumeUser(ctx, db.VolumeUserParams{TenantID: tenant, VolumeID: row.VolumeID}); err == nil {
		c.User = User{user.PodID, husk.Node{ID: user.NodeID, Name: user.Name, Endpoint: user.Endpoint}}
	} else if !errors.Is(err, pgx.ErrNoRows) {
		return c, err
	}
	if row.RadosID != nil {
		c.Number = uint64(*row.RadosID) //nolint:gosec // Ceph counts from 1
	}
	volume, err := q.Volume(ctx, db.VolumeParams{TenantID: tenant, ID: row.VolumeID})
	if errors.Is(err, pgx.ErrNoRows) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	d, err := OfVolume(ctx, q, volume.Volume)
	d.SizeGiB = row.SizeGib // the volume may have grown since, and is not smaller
	c.Volume = &d
	return c, err
}

// Numbered records the number of a snapshot in RADOS, or that it has none (0) and begins again. Codes: not_found (it is gone or is being deleted).
func (c Copies) Numbered(ctx context.Context, tenant, id uuid.UUID, number uint64) error {
	var n *int64
	if number != 0 {
		n = new(int64(number)) //nolint:gosec // Ceph counts from 1
	}
	return c.change(ctx, tenant, id, "", func(q *db.Queries) (int64, error) {
		return q.SetSnapshotNumber(ctx, db.SetSnapshotNumberParams{TenantID: tenant, ID: id, RadosID: n})
	})
}

// Taken records that the moment of a snapshot has passed. Codes: not_found (it is gone or is being deleted).
func (c Copies) Taken(ctx context.Context, tenant, id uuid.UUID) error {
	return c.change(ctx, tenant, id, "Taken", func(q *db.Queries) (int64, error) {
		return q.SetSnapshotTaken(ctx, db.SetSnapshotTakenParams{TenantID: tenant, ID: id})
	})
}

// Made records that everything is copied. Codes: not_found (it is gone or is being deleted; the caller removes the RBD image), conflict (another server
// has recorded it before).
func (c Copies) Made(ctx context.Context, tenant, id uuid.UUID, rbdID string) error {
	return c.change(ctx, tenant, id, "Ready", func(q *db.Queries) (int64, error) {
		if _, err := q.LockTenant(ctx, tenant); err != nil { // first, as when a volume is made from one of the snapshots that expire
			return 0, err
		}
		n, err := q.SetSnapshotReady(ctx, db.SetSnapshotReadyParams{TenantID: tenant, ID: id, RbdID: rbdID})
		if err == nil && n == 0 { // the caller removes what belongs to no snapshot, so it must be sure
			row, err := q.Snapshot(ctx, db.SnapshotParams{TenantID: tenant, ID: id})
			switch {
			case errors.Is(err, pgx.ErrNoRows):
				return 0, nil
			case err != nil:
				return 0, err
			case row.State != husk.SnapshotDeleting:
				return 0, husk.Errorf(husk.CodeConflict, "", "snapshot %q is %s already", row.Name, row.State)
			}
		}
		if err == nil && n > 0 {
			err = q.BeginSnapshot(ctx, db.BeginSnapshotParams{TenantID: tenant, ID: id})
		}
		if err == nil && n > 0 {
			err = c.expireOthers(ctx, q, tenant, id)
		}
		return n, err
	})
}

// ViewMade records the view of a snapshot. Codes: not_found (the snapshot is gone or is being deleted; the caller removes the view).
func (c Copies) ViewMade(ctx context.Context, tenant, id uuid.UUID, rbdID string, header map[string][]byte) error {
	return c.change(ctx, tenant, id, "", func(q *db.Queries) (int64, error) {
		return q.SetSnapshotView(ctx, db.SetSnapshotViewParams{TenantID: tenant, ID: id, ViewID: rbdID, ViewHeader: header})
	})
}

// change changes the row of a snapshot that has a certain state, and writes an event unless the reason is empty.
func (c Copies) change(ctx context.Context, tenant, id uuid.UUID, reason string, change func(q *db.Queries) (int64, error)) error {
	return c.Do(ctx, func(q *db.Queries) error {
		n, err := change(q)
		switch {
		case err != nil:
			return err
		case n == 0:
			return husk.NotFound("snapshot")
		case reason == "":
			return nil
		}
		return c.Record(ctx, q, tenant, "snapshot", id, reason, "")
	})
}

// Progress records how much of a snapshot is copied. Codes: not_found (it is gone or is being deleted).
func (c Copies) Progress(ctx context.Context, tenant, id uuid.UUID, percent int) error {
	return c.Do(ctx, func(q *db.Queries) error {
		n, err := q.SetSnapshotProgress(ctx, db.SetSnapshotProgressParams{TenantID: tenant, ID: id, Percent: percent})
		if err != nil {
			return err
		}
		if n == 0 {
			row, err := q.Snapshot(ctx, db.SnapshotParams{TenantID: tenant, ID: id})
			if errors.Is(err, pgx.ErrNoRows) || err == nil && row.State == husk.SnapshotDeleting {
				err = husk.NotFound("snapshot")
			}
			return err
		}
		return q.Hint(ctx, []string{hints.Tenant(tenant)})
	})
}

// VolumeProgress records how much of a volume that is flattened is copied. Codes: not_found (it is gone or is being deleted).
func (c Copies) VolumeProgress(ctx context.Context, tenant, id uuid.UUID, percent int) error {
	return c.Do(ctx, func(q *db.Queries) error {
		n, err := q.SetVolumeProgress(ctx, db.SetVolumeProgressParams{TenantID: tenant, ID: id, Percent: percent})
		if err != nil {
			return err
		}
		if n == 0 {
			return unlessDeleting(ctx, q, tenant, id)
		}
		return q.Hint(ctx, []string{hints.Tenant(tenant)})
	})
}

// Trouble records why a snapshot is not made or removed at the moment, or that it has failed.
func (c Copies) Trouble(ctx context.Context, tenant, id uuid.UUID, message string, failed bool) error {
	return c.Do(ctx, func(q *db.Queries) error {
		if err := q.SetSnapshotMessage(ctx, db.SetSnapshotMessageParams{TenantID: tenant, ID: id, Message: message, Failed: failed}); err != nil || !failed {
			return err
		}
		return c.Record(ctx, q, tenant, "snapshot", id, "Failed", message)
	})
}

// Removed deletes the row of a snapshot whose RBD image was deleted.
func (c Copies) Removed(ctx context.Context, tenant, id uuid.UUID) error {
	return c.Do(ctx, func(q *db.Queries) error {
		if n, err := q.DeleteSnapshot(ctx, db.DeleteSnapshotParams{TenantID: tenant, ID: id}); err != nil || n == 0 {
			return err
		}
		if err := q.EndSnapshot(ctx, db.EndSnapshotParams{TenantID: tenant, ID: id}); err != nil {
			return err
		}
		if err := q.ForgetDiskKeys(ctx, tenant); err != nil {
			return err
		}
		return c.Record(ctx, q, tenant, "snapshot", id, "Deleted", "")
	})
}

// Grown records that the RBD image of a volume has another size and header. Codes: not_found.
func (c Copies) Grown(ctx context.Context, tenant, id uuid.UUID, sizeGiB int, d Disk) error {
	return c.Do(ctx, func(q *db.Queries) error {
		if err := grown(ctx, q, tenant, id, d.RBDID, sizeGiB, d.Header); err != nil {
			return err
		}
		return c.Record(ctx, q, tenant, "volume", id, "Grown", fmt.Sprintf("the volume has %d GiB", sizeGiB))
	})
}

// Names returns the names of the RBD images of all volumes with the views of snapshots, and of all snapshots, whatever their state. Anything else in the pools is an orphan.
func (c Copies) Names(ctx context.Context) (volumes, snapshots map[string]bool, _ error) {
	err := c.Do(ctx, func(q *db.Queries) error {
		volumes, snapshots = map[string]bool{}, map[string]bool{}
		ids, err := q.AllVolumeIDs(ctx)
		if err != nil {
			return err
		}
		for _, id := range ids {
			volumes[husk.Volume{ID: id}.RBDName()] = true
		}
		ids, err = q.AllSnapshotIDs(ctx)
		for _, id := range ids {
			snapshots[husk.Snapshot{ID: id}.RBDName()] = true
			volumes[husk.Snapshot{ID: id}.ViewName()] = true
		}
		return err
	})
	return volumes, snapshots, err
}
