// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/ceph/go-ceph/rbd"
)

// volumeFeatures include exclusive-lock, so that QEMU can keep an object map, which makes it fast
// to remove and measure a large sparse volume.
const volumeFeatures = rbd.FeatureLayering | rbd.FeatureExclusiveLock | rbd.FeatureObjectMap | rbd.FeatureFastDiff

// CreateVolume creates a sparse volume with an empty ext4 in it. It makes the file system in a
// sparse local file, and copies to RBD only what mkfs wrote. A host never mounts a file system that
// a tenant can write to.
func (c *Cluster) CreateVolume(ctx context.Context, name string, sizeBytes int64) (Disk, error) {
	if err := checkName("volume", name); err != nil {
		return Disk{}, err
	}
	return c.ensureDisk(ctx, name, recipe{
		check: func(img *rbd.Image) error {
			size, err := img.GetSize()
			if err == nil && size != uint64(sizeBytes) {
				err = &ConflictError{Name: name, Why: fmt.Sprintf("its size is %d bytes, not %d", size, sizeBytes)}
			}
			return err
		},
		make: func() error {
			if err := create(c.volumes, name, sizeBytes, volumeFeatures); err != nil {
				return err
			}
			return c.configure(name)
		},
		fill: func() error { return c.makeExt4(ctx, name, sizeBytes) },
	})
}

// configure writes the settings of a disk.
func (c *Cluster) configure(name string) (err error) {
	img, err := rbd.OpenImage(c.volumes, name, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	for key, value := range settings {
		if err := img.SetMetadata(key, value); err != nil {
			return fmt.Errorf("configure %s: %w", name, err)
		}
	}
	return nil
}

func (c *Cluster) makeExt4(ctx context.Context, name string, sizeBytes int64) error {
	file, err := os.CreateTemp(c.cfg.WorkDir, "husk-volume-*.ext4")
	if err != nil {
		return err
	}
	defer func() { _, _ = file.Close(), os.Remove(file.Name()) }()
	if err := file.Truncate(sizeBytes); err != nil {
		return err
	}
	// Lazy: the guest's kernel initializes inode tables later; unwritten blocks read as zeros from
	// RBD anyway. No blocks are reserved for root, because the tenant is root.
	mkfs := exec.CommandContext(ctx, "/sbin/mkfs.ext4", "-q", "-F", "-m", "0",
		"-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0", file.Name())
	if out, err := mkfs.CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	if err := c.step(ctx, "formatted"); err != nil {
		return err
	}
	return c.writeFile(ctx, c.volumes, name, file.Name())
}
