// SPDX-License-Identifier: Apache-2.0

// Package disks creates, changes and removes the rows of volumes and snapshots, in transactions of package store. What a function changes in
// Ceph follows in the control loops: triggers queue the work (migrations/030_snapshots.sql).
package disks

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"husk"
	"husk/store/db"
)

// Disk is a tenant's RBD image: a volume, or the clone of an image.
type Disk struct {
	Name, RBDID string
	Header      map[string][]byte // as it was when the RBD image was created or grew; nil if that is not known
	Digest      string            // of the image; empty for a volume
	SizeGiB     int               // of a volume's RBD image
	Encrypted   bool              // then the RBD image also has the header of LUKS
	// Parent is the snapshot that a volume shares data with. OldParent is the one that its RBD image shares data with until that is replaced.
	Parent, OldParent Parent
	ReadOnly          bool      // the view of a snapshot. Without an RBDID, it does not exist yet
	SnapshotID        uuid.UUID // that it is the view of
	Marked            uint64    // the number of a snapshot in RADOS that is being copied; 0: none
}

// Parent is the RBD image of a snapshot. It is empty if there is none.
type Parent struct{ Name, RBDID string }

// OfImage returns the tenant's clone of an image.
func OfImage(i db.Image) Disk {
	return Disk{Name: husk.Image{ID: i.ID}.CloneName(), RBDID: i.CloneID, Header: i.CloneHeader, Digest: i.Digest}
}

// OfSnapshot returns the view of a snapshot.
func OfSnapshot(s db.Snapshot) Disk {
	of := husk.Snapshot{ID: s.ID}
	return Disk{Name: of.ViewName(), RBDID: s.ViewID, Header: s.ViewHeader, SizeGiB: s.SizeGib, Encrypted: s.KeyID != nil, Parent: Parent{of.RBDName(), s.RbdID}, ReadOnly: true, SnapshotID: s.ID}
}

// OfVolume returns the RBD image of a volume.
func OfVolume(ctx context.Context, q *db.Queries, v db.Volume) (Disk, error) {
	d := Disk{Name: husk.Volume{ID: v.ID}.RBDName(), RBDID: v.RbdID, Header: v.RbdHeader, SizeGiB: v.SizeGib, Encrypted: v.KeyID != nil}
	if v.ImageGib != nil {
		d.SizeGiB = *v.ImageGib
	}
	for _, p := range []struct {
		id     *uuid.UUID
		parent *Parent
	}{{v.SnapshotID, &d.Parent}, {v.OldSnapshotID, &d.OldParent}} {
		if p.id == nil {
			continue
		}
		s, err := q.Snapshot(ctx, db.SnapshotParams{TenantID: v.TenantID, ID: *p.id})
		if err != nil {
			return Disk{}, err
		}
		*p.parent = Parent{husk.Snapshot{ID: s.ID}.RBDName(), s.RbdID}
	}
	going, err := q.SnapshotsInProgress(ctx, db.SnapshotsInProgressParams{TenantID: v.TenantID, VolumeID: v.ID})
	if err != nil {
		return Disk{}, err
	}
	if i := slices.IndexFunc(going, func(s db.Snapshot) bool { return s.RadosID != nil }); i >= 0 {
		d.Marked = uint64(*going[i].RadosID) //nolint:gosec // Ceph counts from 1
	}
	return d, nil
}
