// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"husk"
	"husk/ceph"
	"husk/luks"
	"husk/store"
	"husk/store/disks"
)

// volumeWorkers is how many volumes or clones are created, and how many are removed, at the same time. One tenant can have one worker less.
const volumeWorkers = 4

// How long work in Ceph may take for one object. The removal of a volume takes as long as the volume has objects.
const (
	cephTimeout    = 5 * time.Minute
	removalTimeout = time.Hour
)

// volumes creates the RBD images of new volumes and removes those of deleted ones.
type volumes struct {
	store store.Control
	ceph  *ceph.Cluster
	log   *slog.Logger
}

func (s *volumes) create(ctx context.Context, w store.Work) error {
	v, passphrase, err := s.store.VolumeToCreate(ctx, w)
	if err != nil {
		return err
	}
	var disk ceph.Disk
	if v.Encrypted {
		disk, err = s.ceph.CreateEncryptedVolume(ctx, v.RBDName(), int64(v.SizeGiB)<<30, v.FSType, string(passphrase))
	} else {
		disk, err = s.ceph.CreateVolume(ctx, v.RBDName(), int64(v.SizeGiB)<<30, v.FSType)
	}
	if err != nil {
		return err
	}
	return unlessDeleted(ctx, s.ceph, disk, s.store.VolumeMade(ctx, v, disk.ID, disk.Header))
}

// unlessDeleted removes a new disk whose owner was deleted while it was created: err is the response to the attempt to record the disk. The
// removal of the owner may have passed before there was a disk.
func unlessDeleted(ctx context.Context, c *ceph.Cluster, disk ceph.Disk, err error) error {
	if husk.CodeOf(err) != husk.CodeNotFound {
		return err
	}
	if e := c.RemoveDisk(ctx, disk); e != nil {
		return e
	}
	return err
}

// clone makes a volume from a snapshot. If the volume is restored, this first removes the RBD image that it had.
func (s *volumes) clone(ctx context.Context, w store.Work) error {
	v, disk, err := s.store.VolumeDisk(ctx, w)
	if err != nil {
		return err
	}
	old, of := cephDisk(disk), ceph.Disk{Name: disk.Parent.Name, ID: disk.Parent.RBDID}
	old.Parent, old.ParentID = disk.OldParent.Name, disk.OldParent.RBDID
	if err := s.ceph.RemoveReplaced(ctx, old); err != nil {
		return err
	}
	copying, flattened := ctx, ceph.Progress(nil)
	if v.Flatten {
		var stop func()
		copying, flattened, stop = percentOf(ctx, w, s.log, s.store.Copies().VolumeProgress)
		defer stop()
	}
	made, err := s.ceph.CloneSnapshot(copying, of, v.RBDName(), bytesOf(v.SizeGiB, v.Encrypted), flattened)
	if deleted := context.Cause(copying); err != nil && husk.CodeOf(deleted) == husk.CodeNotFound {
		return unlessDeleted(ctx, s.ceph, ceph.Disk{Name: v.RBDName(), Parent: of.Name, ParentID: of.ID}, deleted)
	}
	if err != nil {
		return err
	}
	return unlessDeleted(ctx, s.ceph, made, s.store.VolumeMade(ctx, v, made.ID, made.Header))
}

// grow makes the RBD image as large as the volume should be. The node of the volume's pod learns of it when that is recorded.
func (s *volumes) grow(ctx context.Context, w store.Work) error {
	v, disk, err := s.store.VolumeDisk(ctx, w)
	if err != nil {
		return err
	}
	grown, err := s.ceph.GrowVolume(ctx, cephDisk(disk), bytesOf(v.SizeGiB, v.Encrypted))
	if err != nil {
		return err
	}
	disk.Header = grown.Header
	return s.store.Copies().Grown(ctx, w.TenantID, w.ObjectID, v.SizeGiB, disk)
}

func (s *volumes) remove(ctx context.Context, w store.Work) error {
	disk, err := s.store.DiskToRemove(ctx, w)
	if err != nil {
		return err
	}
	if err := s.ceph.RemoveDisk(ctx, cephDisk(disk)); err != nil {
		return err
	}
	v := husk.Volume{TenantID: w.TenantID, ID: w.ObjectID}
	s.log.Info("removed a volume", "tenant", v.TenantID, "volume", v.ID)
	return s.store.VolumeRemoved(ctx, v)
}

// bytesOf returns the size of the RBD image of a volume or snapshot.
func bytesOf(sizeGiB int, encrypted bool) int64 {
	bytes := int64(sizeGiB) << 30
	if encrypted {
		bytes += luks.HeaderBytes
	}
	return bytes
}

// cephDisk converts a disk of the store.
func cephDisk(d disks.Disk) ceph.Disk {
	disk := ceph.Disk{Name: d.Name, ID: d.RBDID, Header: d.Header, Digest: d.Digest, SizeBytes: bytesOf(d.SizeGiB, d.Encrypted), Parent: d.Parent.Name, ParentID: d.Parent.RBDID, Marked: d.Marked}
	disk.OldParentID = d.OldParent.RBDID
	return disk
}

// failed tells the owner of a volume why it is not created, grown or removed yet.
func (s *volumes) failed(ctx context.Context, w store.Work, err error) (verdict, error) {
	return verdict{}, s.store.VolumeTrouble(ctx, husk.Volume{TenantID: w.TenantID, ID: w.ObjectID}, troubleText(err))
}

// troubleText returns the tenant's message for a failure in the platform. It does not reveal how the platform is built.
func troubleText(err error) string {
	if busy(err) {
		return "the volume or image is still attached to a pod; Husk retries"
	}
	return "the storage cluster reported an error; Husk retries"
}

// busy reports whether an RBD image is still in use.
func busy(err error) bool {
	_, ok := errors.AsType[*ceph.BusyError](err)
	return ok
}
