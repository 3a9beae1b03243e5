// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/ceph/go-ceph/rbd"

	"husk/luks"
)

// volumeFeatures include exclusive-lock, so that QEMU can keep an object map, which makes it fast
// to remove and measure a large sparse volume.
const volumeFeatures = rbd.FeatureLayering | rbd.FeatureExclusiveLock | rbd.FeatureObjectMap | rbd.FeatureFastDiff

// formats are the programs that make empty file systems in a file. Nothing is made for NoFileSystem.
var formats = map[string][]string{
	// Lazy: the guest's kernel initializes inode tables later; unwritten blocks read as zeros from
	// RBD anyway. No blocks are reserved for root, because the tenant is root.
	"ext4":       {"/sbin/mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0"},
	"xfs":        {"/sbin/mkfs.xfs", "-q", "-f", "-K"},
	NoFileSystem: nil,
}

// NoFileSystem is the type of a volume that is only a block device.
const NoFileSystem = "none"

// CreateVolume creates a sparse volume with an empty file system of this type in it. It makes the file system in a
// sparse local file, and copies to RBD only what mkfs wrote. A host never mounts a file system that
// a tenant can write to.
func (c *Cluster) CreateVolume(ctx context.Context, name string, sizeBytes int64, fsType string) (Disk, error) {
	return c.createVolume(ctx, name, sizeBytes, fsType, "")
}

// CreateEncryptedVolume creates a volume that this passphrase opens. Its RBD image is larger than its content, by the header of LUKS.
func (c *Cluster) CreateEncryptedVolume(ctx context.Context, name string, sizeBytes int64, fsType, passphrase string) (Disk, error) {
	if passphrase == "" {
		return Disk{}, fmt.Errorf("volume %s: there is no passphrase", name)
	}
	return c.createVolume(ctx, name, sizeBytes, fsType, passphrase)
}

func (c *Cluster) createVolume(ctx context.Context, name string, sizeBytes int64, fsType, passphrase string) (Disk, error) {
	if err := checkName("volume", name); err != nil {
		return Disk{}, err
	}
	mkfs, known := formats[fsType]
	if !known {
		return Disk{}, fmt.Errorf("volume %s: unknown file system %q", name, fsType)
	}
	imageBytes := sizeBytes
	if passphrase != "" {
		imageBytes += luks.HeaderBytes
	}
	return c.ensureDisk(ctx, name, recipe{
		check: func(img *rbd.Image) error {
			size, err := img.GetSize()
			if err == nil && size != uint64(imageBytes) { //nolint:gosec // not negative
				err = &ConflictError{Name: name, Why: fmt.Sprintf("its size is %d bytes, not %d", size, imageBytes)}
			}
			return err
		},
		make: func() error {
			if err := create(c.volumes, name, imageBytes, volumeFeatures); err != nil {
				return err
			}
			return c.configure(name)
		},
		fill: func(id string) error {
			disk, err := c.encrypt(id, passphrase)
			if mkfs == nil || err != nil {
				return err
			}
			return c.format(ctx, id, sizeBytes, mkfs, disk)
		},
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

func (c *Cluster) format(ctx context.Context, id string, sizeBytes int64, mkfs []string, disk *luks.Disk) error {
	file, err := os.CreateTemp(c.cfg.WorkDir, "husk-volume-*")
	if err != nil {
		return err
	}
	defer func() { _, _ = file.Close(), os.Remove(file.Name()) }()
	if err := file.Truncate(sizeBytes); err != nil {
		return err
	}
	mkfs = append(slices.Clone(mkfs), file.Name())
	if out, err := exec.CommandContext(ctx, mkfs[0], mkfs[1:]...).CombinedOutput(); err != nil { //nolint:gosec // of our list
		return fmt.Errorf("%s: %w: %s", filepath.Base(mkfs[0]), err, out)
	}
	if err := c.step(ctx, "formatted"); err != nil {
		return err
	}
	if disk != nil {
		if err := writeXFSLog(file); err != nil {
			return err
		}
	}
	return c.writeFile(ctx, c.volumes, id, file.Name(), disk)
}
