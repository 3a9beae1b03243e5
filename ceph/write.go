// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/ceph/go-ceph/rados"
	"github.com/ceph/go-ceph/rbd"
	"golang.org/x/sys/unix"

	"husk/luks"
)

// create creates an empty RBD image.
func create(io *rados.IOContext, name string, size int64, features uint64) error {
	opts := rbd.NewRbdImageOptions()
	defer opts.Destroy()
	if err := opts.SetUint64(rbd.ImageOptionFeatures, features); err != nil {
		return err
	}
	if err := rbd.CreateImage(io, name, uint64(size), opts); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	return nil
}

// chunkSize is the size of one RBD object.
const chunkSize = 4 << 20

// writeFile writes the data of a sparse file, without its holes, to the RBD image with this ID. If disk is not nil, it is encrypted.
func (c *Cluster) writeFile(ctx context.Context, io *rados.IOContext, id, path string, disk *luks.Disk) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	img, err := rbd.OpenImageById(io, id, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	buf := make([]byte, chunkSize)
	for at := int64(0); ; {
		begin, end, err := nextExtent(file, at)
		if err != nil {
			return err
		}
		if begin == end {
			return img.Flush()
		}
		for at = begin; at < end; {
			if err := c.step(ctx, "chunk"); err != nil {
				return err
			}
			n := min(chunkSize-at%chunkSize, end-at) // never across two objects
			if _, err := file.ReadAt(buf[:n], at); err != nil {
				return err
			}
			if err := writePiece(img, buf[:n], at, disk); err != nil {
				return fmt.Errorf("write %s: %w", id, err)
			}
			at += n
		}
	}
}

// writePiece writes a part of a disk. What was never written reads as zeros from RBD, but not through encryption.
func writePiece(img *rbd.Image, piece []byte, at int64, disk *luks.Disk) error {
	if disk != nil {
		disk.Encrypt(piece, at)
		at += luks.HeaderBytes
	} else if zero(piece) {
		return nil
	}
	_, err := img.WriteAt(piece, at)
	return err
}

// nextExtent finds the next data at or after an offset. An empty extent means that there is none.
func nextExtent(file *os.File, at int64) (begin, end int64, err error) {
	begin, err = file.Seek(at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	end, err = file.Seek(begin, unix.SEEK_HOLE)
	return begin, end, err
}

var zeros [64 << 10]byte

func zero(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), len(zeros))
		if !bytes.Equal(b[:n], zeros[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}
