// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/ceph/go-ceph/rados"
	"github.com/ceph/go-ceph/rbd"
)

const (
	imagePrefix = "img-"
	halfSuffix  = ".half"
	snapshot    = "husk"
)

// ImportedImage is an OCI image in the images pool.
type ImportedImage struct {
	Digest    string
	Name      string // of the RBD image
	SizeBytes int64  // of the squashfs
	Complete  bool   // false: an import was interrupted
}

var validDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func imageName(digest string) (string, error) {
	if !validDigest.MatchString(digest) {
		return "", fmt.Errorf("image digest %q: want sha256:<64 hex digits>", digest)
	}
	return imagePrefix + strings.Replace(digest, ":", "-", 1), nil
}

// ImportImage stores the image with the given manifest digest. fill writes its flattened file tree
// as a tar stream, which becomes a squashfs without being unpacked anywhere. If the image already
// exists, fill is not called. After an interrupted import, the image's name tells how far it
// came: an image named ".half" is removed and filled again; an image with its final name has all its
// data, and needs only the protected snapshot.
func (c *Cluster) ImportImage(ctx context.Context, digest string, fill func(ctx context.Context, w io.Writer) error) (ImportedImage, error) {
	name, err := imageName(digest)
	if err != nil {
		return ImportedImage{}, err
	}
	img, err := c.inspectImage(name)
	switch {
	case err == nil && img.Complete:
		return img, nil
	case notFound(err):
		if err := c.fillImage(ctx, name, fill); err != nil {
			return ImportedImage{}, fmt.Errorf("import %s: %w", digest, err)
		}
	case err != nil:
		return ImportedImage{}, fmt.Errorf("import %s: %w", digest, err)
	}
	if err := c.protectImage(ctx, name); err != nil {
		return ImportedImage{}, fmt.Errorf("import %s: %w", digest, err)
	}
	return c.inspectImage(name)
}

// fillImage writes the squashfs under the temporary name, and renames it when it is complete.
func (c *Cluster) fillImage(ctx context.Context, name string, fill func(context.Context, io.Writer) error) error {
	half := name + halfSuffix
	if err := c.remove(c.images, half); err != nil {
		return err
	}
	file, err := os.CreateTemp(c.cfg.WorkDir, "husk-image-*.squashfs")
	if err != nil {
		return err
	}
	defer func() { _, _ = file.Close(), os.Remove(file.Name()) }()
	if err := squash(ctx, file.Name(), fill); err != nil {
		return err
	}
	if err := c.step(ctx, "squashed"); err != nil {
		return err
	}
	info, err := os.Stat(file.Name())
	if err != nil {
		return err
	}
	if err := create(c.images, half, info.Size(), rbd.FeatureLayering); err != nil {
		return err
	}
	if err := c.step(ctx, "created"); err != nil {
		return err
	}
	if err := c.writeFile(ctx, c.images, half, file.Name()); err != nil {
		return err
	}
	if err := c.step(ctx, "written"); err != nil {
		return err
	}
	if err := rbd.GetImage(c.images, half).Rename(name); err != nil {
		return fmt.Errorf("rename %s: %w", half, err)
	}
	return c.step(ctx, "renamed")
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
	name = strings.TrimSuffix(strings.TrimPrefix(name, imagePrefix), halfSuffix)
	return strings.Replace(name, "-", ":", 1)
}

// ListImages returns all images, complete and incomplete.
func (c *Cluster) ListImages(ctx context.Context) ([]ImportedImage, error) {
	names, err := rbd.GetImageNames(c.images)
	if err != nil {
		return nil, fmt.Errorf("list pool %s: %w", c.cfg.ImagesPool, err)
	}
	slices.Sort(names)
	var list []ImportedImage
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !strings.HasPrefix(name, imagePrefix) {
			continue
		}
		img, err := c.inspectImage(name)
		if notFound(err) {
			continue // removed in the meantime
		}
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", name, err)
		}
		list = append(list, img)
	}
	return list, nil
}

// RemoveImage removes an image, complete or incomplete. It succeeds if there is none. It returns
// *BusyError while tenants have clones of it.
func (c *Cluster) RemoveImage(ctx context.Context, digest string) error {
	name, err := imageName(digest)
	if err != nil {
		return err
	}
	if err := c.remove(c.images, name+halfSuffix); err != nil {
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
	return c.ensureDisk(ctx, clone, recipe{
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
		fill: func() error { return nil },
	})
}
