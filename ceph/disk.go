// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/ceph/go-ceph/rados"
	"github.com/ceph/go-ceph/rbd"
	"github.com/google/uuid"
)

// recipe creates a disk.
type recipe struct {
	pool  *rados.IOContext       // nil: the volumes pool
	state string                 // the metadata of a complete disk; "": stateKey
	clear func() error           // removes what is in the way of the removal of an incomplete disk; nil: nothing is
	check func(*rbd.Image) error // whether an existing disk of this name is the right one
	make  func() error           // creates the RBD image
	fill  func(id string) error  // writes the content of the RBD image with this ID
}

// ensureDisk follows a recipe, and may be interrupted at any point. A disk is ready if its metadata
// says so, which is written last. A disk without this metadata is created again.
//
// Two servers may do so at once, because one hung and continues later. An attempt takes an RBD image for itself before it writes to it, and finds it by
// its ID from then on. So it fails if the other has replaced the image, and no image is filled by both.
func (c *Cluster) ensureDisk(ctx context.Context, name string, r recipe) (Disk, error) {
	if r.pool == nil {
		r.pool, r.state, r.clear = c.volumes, stateKey, func() error { return nil }
	}
	disk, err := c.readyDisk(name, r)
	if !errors.Is(err, ErrNotFound) {
		return disk, err
	}
	if err := r.clear(); err != nil {
		return Disk{}, err
	}
	if err := c.remove(r.pool, name); err != nil {
		return Disk{}, err
	}
	id, err := c.makeDisk(ctx, name, r)
	if err != nil {
		return Disk{}, fmt.Errorf("make %s: %w", name, err)
	}
	if err := r.fill(id); err != nil {
		return Disk{}, fmt.Errorf("fill %s: %w", name, err)
	}
	if err := c.step(ctx, "filled"); err != nil {
		return Disk{}, err
	}
	if err := markReady(id, r); err != nil {
		return Disk{}, fmt.Errorf("mark %s: %w", name, err)
	}
	if err := c.step(ctx, "ready"); err != nil {
		return Disk{}, err
	}
	return c.readyDisk(name, r)
}

// makeDisk creates the RBD image and returns its ID. It creates it again if the ID is ambiguous.
func (c *Cluster) makeDisk(ctx context.Context, name string, r recipe) (string, error) {
	for range 5 {
		if err := r.make(); err != nil {
			return "", err
		}
		if err := c.step(ctx, "made"); err != nil {
			return "", err
		}
		img, err := rbd.OpenImageReadOnly(r.pool, name, "")
		if err != nil {
			return "", err
		}
		id, err := img.GetId()
		if err := errors.Join(err, img.Close()); err != nil {
			return "", err
		}
		if err := take(r.pool, id); err != nil {
			return "", err
		}
		alone, err := c.prefixFree(r.pool, id)
		if alone || err != nil {
			return id, err
		}
		if err := c.remove(r.pool, name); err != nil {
			return "", err
		}
	}
	return "", errors.New("every generated ID began with another image's ID, or another image's ID began with it")
}

// take makes this attempt the only one that fills an RBD image. RBD does not return the ID of an image that it makes, so an attempt that hung in
// between finds that of the image by which the other has replaced it. The mark is a lock that is never released, and is removed with the image.
func take(io *rados.IOContext, id string) error {
	const busy, same = -int(syscall.EBUSY), -int(syscall.EEXIST)
	switch code, err := io.LockExclusive(headerObject(id), "husk.attempt", uuid.NewString(), "", 0, nil); {
	case err != nil:
		return fmt.Errorf("take the RBD image %s: %w", id, err)
	case code == busy || code == same:
		return fmt.Errorf("another attempt has made the RBD image %s and fills it", id)
	}
	header, err := io.GetOmapValues(headerObject(id), "", "", 1)
	if err == nil && len(header) == 0 { // the other has removed the image, and the lock has made an object of this name
		return errors.Join(fmt.Errorf("another attempt has removed the RBD image %s", id), io.Delete(headerObject(id)))
	}
	return err
}

// prefixFree reports whether this ID, of a new image in a pool, is unambiguous in both pools: a pod's key for writing applies to both; see podCaps.
func (c *Cluster) prefixFree(in *rados.IOContext, id string) (bool, error) {
	for _, pool := range []*rados.IOContext{c.volumes, c.images} {
		alone, err := prefixFree(pool, id)
		if err != nil || !alone {
			return false, err
		}
		if pool == in {
			continue
		}
		switch same, err := pool.GetOmapValues("rbd_directory", "", "id_"+id, 1); {
		case err != nil && !notFound(err):
			return false, err
		case len(same) > 0:
			return false, nil
		}
	}
	return true, nil
}

// prefixFree reports whether this ID is not a prefix of another image's ID, and no other image's ID
// is a prefix of it. Ceph limits a pod's key by object prefix, and IDs vary in length, so a key for
// header "1a2b" would also open header "1a2b3c". That is improbable, and cheap to exclude: RBD keeps
// all IDs as sorted keys of one object.
func prefixFree(io *rados.IOContext, id string) (bool, error) {
	const directory, key = "rbd_directory", "id_"
	longer, err := io.GetOmapValues(directory, key+id, key+id, 1)
	if notFound(err) { // the pool has no images yet
		return true, nil
	}
	if err != nil || len(longer) > 0 {
		return false, err
	}
	var shorter []string
	for n := 1; n < len(id); n++ {
		shorter = append(shorter, key+id[:n])
	}
	op := rados.CreateReadOp()
	defer op.Release()
	values := op.GetOmapValuesByKeys(shorter)
	if err := op.Operate(io, directory, rados.OperationNoFlag); err != nil {
		return false, err
	}
	found, err := values.Next()
	return found == nil, err
}

// readyDisk returns ErrNotFound for a disk that does not exist or is incomplete.
func (c *Cluster) readyDisk(name string, r recipe) (Disk, error) {
	img, err := rbd.OpenImageReadOnly(r.pool, name, "")
	if notFound(err) {
		return Disk{}, fmt.Errorf("disk %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return Disk{}, fmt.Errorf("disk %s: %w", name, err)
	}
	defer img.Close()
	state, err := img.GetMetadata(r.state)
	if notFound(err) || err == nil && state != stateReady {
		return Disk{}, fmt.Errorf("disk %s is incomplete: %w", name, ErrNotFound)
	}
	if err != nil {
		return Disk{}, fmt.Errorf("disk %s: %w", name, err)
	}
	if err := r.check(img); err != nil {
		return Disk{}, err
	}
	id, err1 := img.GetId()
	size, err2 := img.GetSize()
	if err := errors.Join(err1, err2); err != nil {
		return Disk{}, fmt.Errorf("disk %s: %w", name, err)
	}
	if r.pool == c.images { // no pod can write its header
		return Disk{Pool: c.cfg.ImagesPool, Name: name, ID: id, SizeBytes: int64(size)}, nil
	}
	header, err := c.readHeader(id)
	return Disk{Pool: c.cfg.VolumesPool, Name: name, ID: id, SizeBytes: int64(size), Header: header}, err
}

func markReady(id string, r recipe) error {
	img, err := rbd.OpenImageById(r.pool, id, "")
	if err != nil {
		return err
	}
	return errors.Join(img.SetMetadata(r.state, stateReady), img.Close())
}

// Disk returns a complete clone or volume, or ErrNotFound.
func (c *Cluster) Disk(ctx context.Context, name string) (Disk, error) {
	if err := ctx.Err(); err != nil {
		return Disk{}, err
	}
	return c.readyDisk(name, recipe{pool: c.volumes, state: stateKey, check: func(*rbd.Image) error { return nil }})
}

// ListDisks returns the names of all clones and volumes, complete and incomplete.
func (c *Cluster) ListDisks(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	names, err := rbd.GetImageNames(c.volumes)
	if err != nil {
		return nil, fmt.Errorf("list pool %s: %w", c.cfg.VolumesPool, err)
	}
	slices.Sort(names)
	return names, nil
}

// Watcher is a client that has a disk open for writing, or a QEMU that has it open in any mode.
type Watcher struct {
	Address string // ip:0/nonce, as the blocklist expects it
}

// Watchers returns the clients that have a disk open. An empty list does not prove that no client
// writes: a suspended client has lost its watch and may wake up. See Fence.
func (c *Cluster) Watchers(ctx context.Context, name string) ([]Watcher, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, watchersTimeout)
	defer cancel()
	answer, err := inChild(ctx, task{Do: toListWatchers, Name: name, Server: &c.cfg})
	return answer.Watchers, err
}

// watchersTimeout limits a list of watchers: the header that librbd reads for it may be an attacker's.
const watchersTimeout = 10 * time.Second

func watchersOf(io *rados.IOContext, name string) ([]Watcher, error) {
	img, err := rbd.OpenImageReadOnly(io, name, "") // registers no watch itself
	if err != nil {
		return nil, err
	}
	defer img.Close()
	found, err := img.ListWatchers()
	if err != nil {
		return nil, fmt.Errorf("watchers of %s: %w", name, err)
	}
	var watchers []Watcher
	for _, w := range found {
		watchers = append(watchers, Watcher{Address: w.Addr})
	}
	return watchers, nil
}
