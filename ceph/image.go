// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/ceph/go-ceph/rados"
	"github.com/ceph/go-ceph/rbd"
)

const (
	imagePrefix   = "img-"
	stagingPrefix = "new-" // no digest is stored under such a name
	// oldStagingSuffix ends the names that servers of the previous version give to images that they are storing.
	oldStagingSuffix = ".half"
	snapshot         = "husk"
)

// ImportedImage is an OCI image in the images pool.
type ImportedImage struct {
	Digest    string
	Name      string // of the RBD image
	SizeBytes int64  // of the squashfs
	Complete  bool   // false: StoreImage was interrupted
}

var validDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func imageName(digest string) (string, error) {
	if !validDigest.MatchString(digest) {
		return "", fmt.Errorf("image digest %q: want sha256:<64 hex digits>", digest)
	}
	return imagePrefix + strings.Replace(digest, ":", "-", 1), nil
}

// StoreImage stores the squashfs file of the image with the given manifest digest. It always writes
// the whole file under the staging name first, even if the image exists already: how long it takes
// must not tell a tenant that another tenant has the image. The image of the first that finishes is
// kept. After an interruption, call it again with the same staging name, or call RemoveStaging.
func (c *Cluster) StoreImage(ctx context.Context, digest, staging, file string) (ImportedImage, error) {
	name, err := imageName(digest)
	if err != nil {
		return ImportedImage{}, err
	}
	staging, err = stagingName(staging)
	if err != nil {
		return ImportedImage{}, err
	}
	if err := c.stage(ctx, staging, file); err != nil {
		return ImportedImage{}, fmt.Errorf("store %s: %w", digest, err)
	}
	err = rbd.GetImage(c.images, staging).Rename(name)
	if hasErrno(err, eexist) {
		err = c.remove(c.images, staging)
	}
	if err != nil {
		return ImportedImage{}, fmt.Errorf("rename %s to %s: %w", staging, name, err)
	}
	if err := c.step(ctx, "renamed"); err != nil {
		return ImportedImage{}, err
	}
	if err := c.protectImage(ctx, name); err != nil {
		return ImportedImage{}, fmt.Errorf("store %s: %w", digest, err)
	}
	return c.inspectImage(name)
}

// stage writes a file to an RBD image of the images pool.
func (c *Cluster) stage(ctx context.Context, staging, file string) error {
	if err := c.remove(c.images, staging); err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	id, err := c.makeDisk(ctx, staging, recipe{pool: c.images, make: func() error { return create(c.images, staging, info.Size(), rbd.FeatureLayering) }})
	if err != nil {
		return err
	}
	if err := c.writeFile(ctx, c.images, id, file, nil); err != nil {
		return err
	}
	return c.step(ctx, "written")
}

// stagingName returns the RBD name of an image that is being written.
func stagingName(staging string) (string, error) {
	return stagingPrefix + staging, checkName("staging", staging)
}

// RemoveStaging removes what an interrupted StoreImage left under its staging name.
func (c *Cluster) RemoveStaging(ctx context.Context, staging string) error {
	name, err := stagingName(staging)
	if err != nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	return c.remove(c.images, name)
}

// ListStaging returns the staging names under which there is something.
func (c *Cluster) ListStaging(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	names, err := rbd.GetImageNames(c.images)
	if err != nil {
		return nil, fmt.Errorf("list pool %s: %w", c.cfg.ImagesPool, err)
	}
	var staging []string
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, stagingPrefix); ok {
			staging = append(staging, rest)
		}
	}
	return staging, nil
}

func (c *Cluster) protectImage(ctx context.Context, name string) error {
	img, err := rbd.OpenImage(c.images, name, "")
	if err != nil {
		return err
	}
	defer img.Close()
	snap, err := img.CreateSnapshot(snapshot)
	if hasErrno(err, eexist) {
		snap, err = img.GetSnapshot(snapshot), nil
	}
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := c.step(ctx, "snapshot"); err != nil {
		return err
	}
	if err := snap.Protect(); err != nil && !hasErrno(err, ebusy) {
		return fmt.Errorf("protect: %w", err)
	}
	return c.step(ctx, "protected")
}

// inspectImage reads the RBD image with this name.
func (c *Cluster) inspectImage(name string) (ImportedImage, error) {
	found := ImportedImage{Name: name, Digest: digestOf(name)}
	img, err := rbd.OpenImageReadOnly(c.images, name, "")
	if err != nil {
		return found, err
	}
	defer img.Close()
	size, err := img.GetSize()
	if err != nil {
		return found, err
	}
	found.SizeBytes = int64(size)
	found.Complete, err = img.GetSnapshot(snapshot).IsProtected()
	if notFound(err) {
		err = nil
	}
	return found, err
}

func digestOf(name string) string {
	return strings.Replace(strings.TrimSuffix(strings.TrimPrefix(name, imagePrefix), oldStagingSuffix), "-", ":", 1)
}

// ListDigests returns the digests of all images, complete and incomplete. It opens none of them.
func (c *Cluster) ListDigests(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	names, err := rbd.GetImageNames(c.images)
	if err != nil {
		return nil, fmt.Errorf("list pool %s: %w", c.cfg.ImagesPool, err)
	}
	var digests []string
	for _, name := range names {
		if strings.HasPrefix(name, imagePrefix) {
			digests = append(digests, digestOf(name))
		}
	}
	slices.Sort(digests)
	return slices.Compact(digests), nil
}

// RemoveImage removes an image, complete or incomplete. It succeeds if there is none. It returns
// *BusyError while tenants have clones of it.
func (c *Cluster) RemoveImage(ctx context.Context, digest string) error {
	name, err := imageName(digest)
	if err != nil {
		return err
	}
	if err := c.remove(c.images, name+oldStagingSuffix); err != nil {
		return err
	}
	if err := c.unprotectImage(ctx, name); err != nil {
		return err
	}
	return c.remove(c.images, name)
}

func (c *Cluster) unprotectImage(ctx context.Context, name string) error {
	img, err := rbd.OpenImage(c.images, name, "")
	if notFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	defer img.Close()
	_, clones, err := img.ListChildren()
	if err != nil {
		return fmt.Errorf("clones of %s: %w", name, err)
	}
	if len(clones) > 0 {
		return &BusyError{Name: name, By: clones}
	}
	snap := img.GetSnapshot(snapshot)
	// After an interrupted removal, it may be unprotected (EINVAL) or not exist.
	if err := snap.Unprotect(); err != nil && !notFound(err) && !hasErrno(err, einval) {
		if hasErrno(err, ebusy) {
			return &BusyError{Name: name}
		}
		return fmt.Errorf("unprotect %s: %w", name, err)
	}
	if err := c.step(ctx, "unprotected"); err != nil {
		return err
	}
	if err := snap.Remove(); err != nil && !notFound(err) {
		return fmt.Errorf("remove snapshot of %s: %w", name, err)
	}
	return c.step(ctx, "unsnapped")
}

// remove removes an RBD image without snapshots.
func (c *Cluster) remove(io *rados.IOContext, name string) error {
	err := rbd.RemoveImage(io, name)
	switch {
	case err == nil || notFound(err):
		return nil
	case hasErrno(err, ebusy) || hasErrno(err, enotempty):
		watchers, _ := watchersOf(io, name) // only for the message
		busy := &BusyError{Name: name}
		for _, w := range watchers {
			busy.By = append(busy.By, w.Address)
		}
		return busy
	default:
		return fmt.Errorf("remove %s: %w", name, err)
	}
}

// CloneForTenant makes a tenant's copy-on-write clone of a complete image in the volumes pool. One
// clone per tenant and image is enough, because its pods share it.
func (c *Cluster) CloneForTenant(ctx context.Context, digest, clone string) (Disk, error) {
	parent, err := imageName(digest)
	if err != nil {
		return Disk{}, err
	}
	if err := checkName("clone", clone); err != nil {
		return Disk{}, err
	}
	disk, err := c.ensureDisk(ctx, clone, recipe{
		check: func(img *rbd.Image) error {
			p, err := img.GetParent()
			if err != nil && !notFound(err) {
				return err
			}
			if err != nil || p.Image.ImageName != parent {
				return &ConflictError{Name: clone, Why: "it is not a clone of " + digest}
			}
			return nil
		},
		make: func() error {
			opts := rbd.NewRbdImageOptions()
			defer opts.Destroy()
			err := errors.Join(opts.SetUint64(rbd.ImageOptionCloneFormat, 2), opts.SetUint64(rbd.ImageOptionFeatures, rbd.FeatureLayering))
			if err != nil {
				return err
			}
			if whole, err := c.inspectImage(parent); notFound(err) || err == nil && !whole.Complete {
				return fmt.Errorf("image %s: %w", digest, ErrNotFound)
			}
			return rbd.CloneImage(c.images, parent, snapshot, c.volumes, clone, opts)
		},
		fill: func(string) error { return nil },
	})
	disk.Digest = digest
	return disk, err
}
