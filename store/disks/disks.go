// SPDX-License-Identifier: Apache-2.0

// Package disks creates, changes and removes the rows of volumes, in transactions of package store. What a function changes in Ceph follows
// in the control loops: triggers queue the work (migrations/026_volumes_grow.sql).
package disks

import (
	"husk"
	"husk/store/db"
)

// Disk is a tenant's RBD image: a volume, or the clone of an image.
type Disk struct {
	Name, RBDID string
	Header      map[string][]byte // as it was when the RBD image was created or grew; nil if that is not known
	Digest      string            // of the image; empty for a volume
}

// OfImage returns the tenant's clone of an image.
func OfImage(i db.Image) Disk {
	return Disk{husk.Image{ID: i.ID}.CloneName(), i.CloneID, i.CloneHeader, i.Digest}
}

// OfVolume returns the RBD image of a volume.
func OfVolume(v db.Volume) Disk {
	return Disk{husk.Volume{ID: v.ID}.RBDName(), v.RbdID, v.RbdHeader, ""}
}
