// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"encoding/json"
	"time"

	"husk"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/disks"
	"husk/store/moves"
	"husk/store/pgerr"
)

// WorkKind is a kind of work that the control loops do outside Postgres.
type WorkKind string

// The kinds of work.
const (
	ImageImport    WorkKind = "image-import"
	ImageRemoval   WorkKind = "image-removal"
	VolumeCreation WorkKind = "volume-creation"
	VolumeFormat   WorkKind = "volume-format" // a volume with another file system than ext4, or none
	VolumeClone    WorkKind = "volume-clone"
	VolumeFlatten  WorkKind = "volume-flatten" // a clone to which all data of its snapshot is copied
	VolumeGrowth   WorkKind = "volume-growth"
	VolumeRemoval  WorkKind = "volume-removal"
	SnapshotCopy   WorkKind = "snapshot-creation"
	SnapshotFreeze WorkKind = "snapshot-freeze" // the copy of a consistent snapshot
	SnapshotRemove WorkKind = "snapshot-removal"
	PodKeyCreation WorkKind = "pod-key"
	KeyRemoval     WorkKind = "key-removal"    // of a pod that has ended or is gone
	ImportRemoval  WorkKind = "import-removal" // if no image uses it any more

	// The same for encrypted volumes, which servers of the version before did not know.
	EncryptedCreation WorkKind = "encrypted-creation"
	EncryptedClone    WorkKind = "encrypted-clone"
	EncryptedFlatten  WorkKind = "encrypted-flatten"
	EncryptedGrowth   WorkKind = "encrypted-growth"
	EncryptedSnapshot WorkKind = "encrypted-snapshot" // also a consistent one
)

// Work is an object that needs work, claimed by the leader. Triggers add and delete work with the object's state, in the same transaction.
type Work struct {
	Kind               WorkKind
	TenantID, ObjectID ID
	Attempts           int    // including this one, and attempts that ended the server
	Digest             string // of an ImportRemoval
	epoch              int64
}

// Claim says what the leader takes on.
type Claim struct {
	Kind      WorkKind
	Max       int           // at most this many objects
	PerTenant int           // at most this many of one tenant, together with those that are being worked on
	Expires   time.Duration // after that, the leader may claim the object again; a new leader may do so at once
}

// ClaimWork claims due work and counts an attempt for each object, before the work begins. Tenants take turns. It fails if another server
// leads.
func (c Control) ClaimWork(ctx context.Context, epoch int64, claim Claim) ([]Work, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]Work, error) {
		if _, err := q.CheckEpoch(ctx, epoch); err != nil {
			return nil, wrap(err, "claim work as the leader of epoch %d", epoch)
		}
		rows, err := q.ClaimWork(ctx, db.ClaimWorkParams{
			Kind: string(claim.Kind), Epoch: &epoch, Max: claim.Max, PerTenant: int64(claim.PerTenant), ClaimSeconds: claim.Expires.Seconds(),
		})
		return convert.All(rows, func(r db.ClaimWorkRow) Work {
			return Work{claim.Kind, r.TenantID, r.ObjectID, r.Attempts, r.Digest, epoch}
		}), err
	})
}

// PostponeWork gives up the claim of work that failed. The work is due again after the delay.
func (c Control) PostponeWork(ctx context.Context, w Work, delay time.Duration) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		return q.PostponeWork(ctx, db.PostponeWorkParams{
			Kind: string(w.Kind), TenantID: w.TenantID, ObjectID: w.ObjectID, Epoch: w.epoch, DelaySeconds: delay.Seconds(),
		})
	})
}

// FinishWork deletes work that is done.
func (c Control) FinishWork(ctx context.Context, w Work) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		return q.FinishWork(ctx, db.FinishWorkParams{Kind: string(w.Kind), TenantID: w.TenantID, ObjectID: w.ObjectID, Epoch: w.epoch})
	})
}

// WorkCount is how much work of a kind there is.
type WorkCount struct {
	Kind   WorkKind
	All    int           // waiting or being done
	Stuck  int           // after so many attempts that the leader retries it rarely
	Oldest time.Duration // how long the oldest work has been due without being claimed
}

// CountWork counts the work of each kind that has any. Work is stuck after this many attempts.
func (c Control) CountWork(ctx context.Context, stuckAfter int) ([]WorkCount, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]WorkCount, error) {
		rows, err := q.WorkCounts(ctx, stuckAfter)
		return convert.All(rows, func(r db.WorkCountsRow) WorkCount {
			return WorkCount{WorkKind(r.Kind), r.Waiting, r.Stuck, time.Duration(r.OldestSeconds * float64(time.Second))}
		}), err
	})
}

// ImageToImport returns the image of an import, with the credentials for its registry. Codes: not_found.
func (c Control) ImageToImport(ctx context.Context, w Work) (husk.Image, *RegistryAuth, error) {
	var auth *RegistryAuth
	image, err := inControl(ctx, c, func(q *db.Queries) (husk.Image, error) {
		row, err := q.Image(ctx, db.ImageParams{TenantID: w.TenantID, ID: w.ObjectID})
		if err != nil || row.RegistryAuth == nil {
			return convert.Image(row), pgerr.NotFound(err, "image")
		}
		plain, err := c.keys.Open(ctx, q, row.TenantID, row.RegistryAuth, registryAuthOwner(row.ID))
		if err != nil {
			return husk.Image{}, wrap(err, "registry login of image %s", row.ID)
		}
		auth = &RegistryAuth{}
		return convert.Image(row), wrap(json.Unmarshal(plain, auth), "registry login of image %s", row.ID)
	})
	return image, auth, err
}

// VolumeToCreate returns the volume of a creation, and its passphrase if it is encrypted. Codes: not_found.
func (c Control) VolumeToCreate(ctx context.Context, w Work) (v husk.Volume, passphrase husk.Secret, _ error) {
	passphrase, err := inControl(ctx, c, func(q *db.Queries) (husk.Secret, error) {
		row, err := q.Volume(ctx, db.VolumeParams{TenantID: w.TenantID, ID: w.ObjectID})
		if err != nil {
			return "", pgerr.NotFound(err, "volume")
		}
		v = convert.Volume(row.Volume, nil)
		return disks.Passphrase(ctx, q, &c.keys, row.Volume)
	})
	return v, passphrase, err
}

// VolumeDisk returns a volume and its RBD image. Codes: not_found.
func (c Control) VolumeDisk(ctx context.Context, w Work) (v husk.Volume, d disks.Disk, _ error) {
	d, err := inControl(ctx, c, func(q *db.Queries) (disks.Disk, error) {
		row, err := q.Volume(ctx, db.VolumeParams{TenantID: w.TenantID, ID: w.ObjectID})
		if err != nil {
			return disks.Disk{}, pgerr.NotFound(err, "volume")
		}
		v = convert.Volume(row.Volume, nil)
		return disks.OfVolume(ctx, q, row.Volume)
	})
	return v, d, err
}

// PodToKey returns the disks of a pod that needs a key, and the number of its placement. Codes: not_found.
func (c Control) PodToKey(ctx context.Context, w Work) (all []disks.Disk, placement int64, _ error) {
	all, err := inControl(ctx, c, func(q *db.Queries) ([]disks.Disk, error) {
		row, err := q.Pod(ctx, db.PodParams{TenantID: w.TenantID, ID: w.ObjectID})
		if err != nil {
			return nil, pgerr.NotFound(err, "pod")
		}
		if placement, err = moves.ToKey(ctx, q, row); err != nil {
			return nil, err
		}
		images, err := q.PodImages(ctx, db.PodImagesParams{TenantID: w.TenantID, PodID: w.ObjectID})
		if err != nil {
			return nil, err
		}
		all := convert.All(images, func(r db.PodImagesRow) disks.Disk { return disks.OfImage(r.Image) })
		volumes, err := q.PodVolumes(ctx, db.PodVolumesParams{TenantID: w.TenantID, PodID: w.ObjectID})
		for _, v := range volumes {
			d, err := disks.OfVolume(ctx, q, v.Volume)
			if err != nil {
				return nil, err
			}
			all = append(all, d)
		}
		if err != nil {
			return nil, err
		}
		snapshots, err := q.SnapshotsOfPod(ctx, db.SnapshotsOfPodParams{TenantID: w.TenantID, PodID: w.ObjectID})
		return append(all, convert.All(snapshots, disks.OfSnapshot)...), err
	})
	return all, placement, err
}

// DigestUsed reports whether any tenant has an image with this digest, in any state.
func (c Control) DigestUsed(ctx context.Context, digest string) (bool, error) {
	return inControl(ctx, c, func(q *db.Queries) (bool, error) { return q.DigestUsed(ctx, digest) })
}

// DiskToRemove returns the disk of an image or volume that is being deleted. Codes: not_found.
func (c Control) DiskToRemove(ctx context.Context, w Work) (disks.Disk, error) {
	return inControl(ctx, c, func(q *db.Queries) (disks.Disk, error) {
		if w.Kind == ImageRemoval {
			row, err := q.Image(ctx, db.ImageParams{TenantID: w.TenantID, ID: w.ObjectID})
			return disks.OfImage(row), pgerr.NotFound(err, "image")
		}
		row, err := q.Volume(ctx, db.VolumeParams{TenantID: w.TenantID, ID: w.ObjectID})
		if err != nil {
			return disks.Disk{}, pgerr.NotFound(err, "volume")
		}
		return disks.OfVolume(ctx, q, row.Volume)
	})
}
