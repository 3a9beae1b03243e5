// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/ceph/go-ceph/rados"
	"github.com/ceph/go-ceph/rbd"
)

// growTimeout limits the change of a size. If a pod has the volume open, its QEMU makes the change, and a hostile one may never answer.
const growTimeout = 20 * time.Second

// GrowVolume makes a volume larger, also while a pod uses it, and returns it with its new header. The call may be repeated after any
// interruption. The file system in the volume is left to the guest.
//
// A pod may have written the header, so a process of its own opens the volume, as for a removal.
func (c *Cluster) GrowVolume(ctx context.Context, d Disk, sizeBytes int64) (Disk, error) {
	id, err := c.diskID(d.Name)
	if err != nil {
		return Disk{}, fmt.Errorf("disk %s: %w", d.Name, err)
	}
	if id != d.ID {
		return Disk{}, &ConflictError{Name: d.Name, Why: "it is another disk than the one to grow"}
	}
	now, err := c.readHeader(id)
	if err != nil && !errors.Is(err, errLargeHeader) {
		return Disk{}, err
	}
	grown := d.Header.withSize(sizeBytes)
	if !bytes.Equal(now["size"], sizeValue(sizeBytes)) { // otherwise, an earlier attempt was interrupted after the change
		if _, err := c.restoreHeader(id, d.Header); err != nil {
			return Disk{}, err
		}
	} else if _, err := c.restoreHeader(id, grown); err != nil {
		return Disk{}, err
	}
	if err := c.step(ctx, "restored"); err != nil {
		return Disk{}, err
	}
	parents, err := c.parentsOf([]Access{{Disk: d}})
	if err != nil {
		return Disk{}, err
	}
	d.Pool = c.cfg.VolumesPool
	within, cancel := context.WithTimeout(ctx, growTimeout)
	defer cancel()
	t := c.taskFor(toGrow, d.Name)
	t.Size = sizeBytes
	if err := c.inChildAs(within, growPrefix+d.Name, c.podCaps([]Access{{Disk: d, Write: true}}, parents), t); err != nil {
		return Disk{}, err
	}
	if err := c.step(ctx, "grown"); err != nil {
		return Disk{}, err
	}
	d.SizeBytes, d.Header = sizeBytes, grown
	return d, nil
}

// growImage makes an image larger. If another client has it locked, librbd lets that client do it.
func growImage(io *rados.IOContext, name string, size int64) (err error) {
	img, err := rbd.OpenImage(io, name, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	return growTo(img, size)
}

func growTo(img *rbd.Image, size int64) error {
	is, err := img.GetSize()
	if err != nil || is == uint64(size) { //nolint:gosec // the contract bounds it
		return err
	}
	if is > uint64(size) { //nolint:gosec // as above
		return fmt.Errorf("it has %d bytes and is larger than %d already", is, size)
	}
	return img.Resize(uint64(size)) //nolint:gosec // as above
}

func sizeValue(bytes int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(bytes)) } //nolint:gosec // the contract bounds it

// withSize returns the header with another size of the image. The header of a disk of which none was kept stays unknown.
func (h Header) withSize(bytes int64) Header {
	if len(h) == 0 {
		return h
	}
	all := maps.Clone(h)
	all["size"] = sizeValue(bytes)
	return all
}
