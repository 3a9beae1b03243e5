// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ceph/go-ceph/rados"
	"github.com/ceph/go-ceph/rbd"
)

// How a snapshot of a volume is made.
//
// A pod's key can write the header and the data of its volume, and with a write that leaves out the number of a snapshot, also what the snapshot
// has. So RADOS keeps a snapshot only while it is copied to an RBD image in the images pool, which no pod can write. The moment of the snapshot is when QEMU
// learns of its number. The server reads and writes headers and data without librbd, so nothing that a pod writes there can mislead it.

// ErrSnapshotLost means that the header of a volume lost the snapshot before everything was copied, because another pod got the volume, or a pod
// changed the header. The snapshot begins again.
var ErrSnapshotLost = errors.New("the snapshot was lost before it was copied")

// ErrNoAnswer means that a client that has a volume open does not answer.
var ErrNoAnswer = errors.New("a client that has the volume open does not answer")

const (
	// snapshotState is the metadata of a complete snapshot. A clone gets the metadata of its parent, so it has another name than that of volumes.
	snapshotState = "husk.snapshot"
	// noticeTimeout is how long a client may take to answer that it will notice a snapshot.
	noticeTimeout = 10 * time.Second
	// copiers is how many objects are copied at the same time.
	copiers = 4
	// piece is the smallest part of an object that is copied or left out.
	piece = 64 << 10
)

// NewSnapshotID takes the number of a snapshot. Store it before MarkSnapshot uses it, so that ForgetSnapshot can remove it in any case.
func (c *Cluster) NewSnapshotID(ctx context.Context) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return newSnapID(c.volumes)
}

func snapshotKey(id uint64) string { return fmt.Sprintf("snapshot_%016x", id) }

// MarkSnapshot makes now the moment of a snapshot: what is written to the volume from now on is not in it.
func (c *Cluster) MarkSnapshot(ctx context.Context, d Disk, id uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := c.restoreHeader(d.ID, d.Header); err != nil {
		return err
	}
	name := fmt.Sprintf("husk-%d", id)
	in := append(binary.LittleEndian.AppendUint32(nil, uint32(len(name))), name...) //nolint:gosec // a short name
	if err := call(c.volumes, headerObject(d.ID), "rbd", "snapshot_add", binary.LittleEndian.AppendUint64(in, id)); err != nil {
		return fmt.Errorf("add the snapshot to the header of %s: %w", d.Name, err)
	}
	if err := c.step(ctx, "added"); err != nil {
		return err
	}
	if err := c.announce(d.ID); err != nil {
		return fmt.Errorf("volume %s: %w", d.Name, err)
	}
	return c.step(ctx, "marked")
}

// announce tells the clients that have a disk open that its header has changed, and waits until they have heard it.
func (c *Cluster) announce(id string) error {
	// NotifyMessage of librbd (WatchNotifyTypes.h): version 7, compatible with 1, four bytes, NOTIFY_OP_HEADER_UPDATE.
	message := []byte{7, 1, 4, 0, 0, 0, 3, 0, 0, 0}
	_, silent, err := c.volumes.NotifyWithTimeout(headerObject(id), message, noticeTimeout)
	if len(silent) > 0 || errors.Is(err, syscall.ETIMEDOUT) {
		return ErrNoAnswer
	}
	return err
}

// ForgetSnapshot removes a snapshot in RADOS, of which everything is copied or nothing is needed.
func (c *Cluster) ForgetSnapshot(ctx context.Context, d Disk, id uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := c.restoreHeader(d.ID, d.Header)
	if err == nil {
		err = c.announce(d.ID)
	}
	if err != nil && !notFound(err) && !errors.Is(err, ErrNoAnswer) { // who does not hear it writes with a number that the pool ignores
		return err
	}
	if err := c.step(ctx, "unmarked"); err != nil {
		return err
	}
	if err := dropSnapID(c.volumes, id); err != nil {
		return fmt.Errorf("remove the snapshot %d of %s: %w", id, d.Name, err)
	}
	return nil
}

// StoreSnapshot copies a snapshot to an RBD image of its own, from which volumes can be cloned. It may be interrupted anywhere and repeated.
// It returns ErrSnapshotLost if the copy may be incomplete.
func (c *Cluster) StoreSnapshot(ctx context.Context, d Disk, id uint64, name string, progress Progress) (Disk, error) {
	if err := checkName("snapshot", name); err != nil {
		return Disk{}, err
	}
	return c.ensureDisk(ctx, name, recipe{
		pool:  c.images,
		state: snapshotState,
		check: func(*rbd.Image) error { return nil },
		clear: func() error { return c.unsnap(name) }, // of an attempt that was interrupted at its end
		make:  func() error { return create(c.images, name, d.SizeBytes, rbd.FeatureLayering) },
		fill: func(copied string) error {
			if err := c.copySnapshot(ctx, d, id, copied, progress); err != nil {
				return err
			}
			now, err := c.readHeader(d.ID)
			if err != nil && !errors.Is(err, errLargeHeader) {
				return err
			}
			if _, has := now[snapshotKey(id)]; !has {
				return ErrSnapshotLost
			}
			img, err := rbd.OpenImageById(c.images, copied, "")
			if err != nil {
				return err
			}
			_, err = img.CreateSnapshot(snapshot)
			return errors.Join(err, img.Close())
		},
	})
}

// copySnapshot copies the objects of a snapshot to the RBD image with the ID copied.
func (c *Cluster) copySnapshot(ctx context.Context, d Disk, id uint64, copied string, progress Progress) (err error) {
	from, err := c.conn.OpenIOContext(c.cfg.VolumesPool)
	if err != nil {
		return err
	}
	defer from.Destroy()
	if err := from.SetReadSnap(rados.SnapID(id)); err != nil {
		return err
	}
	to, err := rbd.OpenImageById(c.images, copied, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	var parent *rbd.Image
	if d.Parent != "" {
		if parent, err = rbd.OpenImageReadOnly(c.images, d.Parent, snapshot); err != nil {
			return err
		}
		defer parent.Close()
	}
	objects := d.SizeBytes / chunkSize
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex // protects next
	next := int64(0)
	var copying sync.WaitGroup
	for range copiers {
		copying.Go(func() {
			buf := make([]byte, chunkSize)
			for {
				mu.Lock()
				n := next
				next++
				mu.Unlock()
				if n >= objects || ctx.Err() != nil {
					return
				}
				if err := c.copyObject(ctx, from, d.ID, n, parent, to, buf); err != nil {
					cancel(err)
					return
				}
				if progress != nil {
					progress((n+1)*chunkSize, d.SizeBytes)
				}
			}
		})
	}
	copying.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return to.Flush()
}

// copyObject copies the data of one object, without what is zero.
func (c *Cluster) copyObject(ctx context.Context, from *rados.IOContext, id string, n int64, parent, to *rbd.Image, buf []byte) error {
	if err := c.step(ctx, "chunk"); err != nil {
		return err
	}
	object := fmt.Sprintf("rbd_data.%s.%016x", id, n)
	got, err := from.Read(object, buf, 0)
	if notFound(err) && parent != nil {
		got, err = parent.ReadAt(buf, n*chunkSize)
		if err != nil && got >= 0 && n*chunkSize >= parentSize(parent) {
			got, err = 0, nil // beyond the end of the parent
		}
	}
	if notFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", object, err)
	}
	for at := 0; at < got; {
		end := at
		for end < got && !zero(buf[end:min(end+piece, got)]) {
			end = min(end+piece, got)
		}
		if end > at {
			if _, err := to.WriteAt(buf[at:end], n*chunkSize+int64(at)); err != nil {
				return err
			}
		}
		at = max(end, at) + piece
		at -= at % piece
	}
	return nil
}

func parentSize(img *rbd.Image) int64 {
	size, err := img.GetSize()
	if err != nil {
		return 0
	}
	return int64(size) //nolint:gosec // we have made it
}

// CloneSnapshot creates a volume with the content of a snapshot. It shares the snapshot's data, unless flattened is not nil: then all data is
// copied, which may take long.
func (c *Cluster) CloneSnapshot(ctx context.Context, of Disk, name string, sizeBytes int64, flattened Progress) (Disk, error) {
	if err := checkName("volume", name); err != nil {
		return Disk{}, err
	}
	disk, err := c.ensureDisk(ctx, name, recipe{
		check: func(img *rbd.Image) error {
			size, err := img.GetSize()
			if err == nil && size != uint64(sizeBytes) { //nolint:gosec // the contract bounds it
				err = &ConflictError{Name: name, Why: fmt.Sprintf("its size is %d bytes, not %d", size, sizeBytes)}
			}
			return err
		},
		make: func() error {
			opts := rbd.NewRbdImageOptions()
			defer opts.Destroy()
			if err := errors.Join(opts.SetUint64(rbd.ImageOptionCloneFormat, 2), opts.SetUint64(rbd.ImageOptionFeatures, volumeFeatures)); err != nil {
				return err
			}
			if err := rbd.CloneImage(c.images, of.Name, snapshot, c.volumes, name, opts); err != nil {
				return fmt.Errorf("clone %s: %w", of.Name, err)
			}
			return c.configure(name)
		},
		fill: func(id string) error {
			img, err := rbd.OpenImageById(c.volumes, id, "")
			if err != nil {
				return err
			}
			err = errors.Join(growTo(img, sizeBytes), img.Close())
			if err == nil && flattened != nil {
				err = flatten(ctx, c.volumes, id, flattened)
			}
			return err
		},
	})
	if err == nil && flattened == nil {
		disk.Parent, disk.ParentID = of.Name, of.ID
	}
	return disk, err
}

// RemoveSnapshot removes the RBD image of a snapshot, complete or incomplete, if there is one. It returns *BusyError while volumes share its data.
func (c *Cluster) RemoveSnapshot(ctx context.Context, name string) error {
	if err := errors.Join(checkName("snapshot", name), ctx.Err()); err != nil {
		return err
	}
	if err := c.unsnap(name); err != nil {
		return err
	}
	if err := c.step(ctx, "unsnapped"); err != nil {
		return err
	}
	return c.remove(c.images, name)
}

// unsnap removes RBD's snapshot of the image of a snapshot. Only the server can write such an image.
func (c *Cluster) unsnap(name string) error {
	img, err := rbd.OpenImage(c.images, name, "")
	if notFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer img.Close()
	_, clones, err := img.ListChildren()
	if err != nil {
		return fmt.Errorf("clones of %s: %w", name, err)
	}
	if len(clones) > 0 {
		return &BusyError{Name: name, By: clones}
	}
	if err := img.GetSnapshot(snapshot).Remove(); err != nil && !notFound(err) {
		return fmt.Errorf("remove the snapshot of %s: %w", name, err)
	}
	return nil
}

// ListSnapshots returns the names of the RBD images of all snapshots, complete and incomplete.
func (c *Cluster) ListSnapshots(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	names, err := rbd.GetImageNames(c.images)
	if err != nil {
		return nil, fmt.Errorf("list pool %s: %w", c.cfg.ImagesPool, err)
	}
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, SnapshotPrefix) }), nil
}

// SnapshotPrefix begins the names of the RBD images of snapshots.
const SnapshotPrefix = "snap-"
