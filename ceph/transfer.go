// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ceph/go-ceph/rbd"
)

// ExportSnapshot calls write for the parts of a snapshot that are not zero, in ascending order. The RBD image is not removed meanwhile.
func (c *Cluster) ExportSnapshot(ctx context.Context, name string, maxPiece int, write func(offset int64, piece []byte) error) (err error) {
	img, err := rbd.OpenImage(c.images, name, "") // with a watch, for which its removal waits
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	size, err := img.GetSize()
	if err != nil {
		return err
	}
	id, err := img.GetId()
	if err != nil {
		return err
	}
	buf := make([]byte, maxPiece)
	for object := range int64(size) / chunkSize { //nolint:gosec // we have made it
		for at := int64(0); at < chunkSize; {
			if err := ctx.Err(); err != nil {
				return err
			}
			got, err := c.images.Read(fmt.Sprintf("rbd_data.%s.%016x", id, object), buf[:min(int64(maxPiece), chunkSize-at)], uint64(at)) //nolint:gosec // not negative
			if notFound(err) || err == nil && got == 0 {
				break // nothing follows in the object
			}
			if err != nil {
				return fmt.Errorf("snapshot %s: %w", name, err)
			}
			if err := writeNonZero(buf[:got], object*chunkSize+at, write); err != nil {
				return err
			}
			at += int64(got)
		}
	}
	if _, err := c.images.Stat(headerObject(id)); err != nil { // after an interruption, the removal may not have waited
		return fmt.Errorf("snapshot %s was removed while it was exported: %w", name, err)
	}
	return nil
}

// writeNonZero calls write for the pieces of data that are not zero, joined where they are adjacent.
func writeNonZero(data []byte, offset int64, write func(offset int64, piece []byte) error) error {
	for at := 0; at < len(data); {
		end := at
		for end < len(data) && !zero(data[end:min(end+piece, len(data))]) {
			end = min(end+piece, len(data))
		}
		if end > at {
			if err := write(offset+int64(at), data[at:end]); err != nil {
				return err
			}
		}
		at = max(at+piece, end)
	}
	return nil
}

// ImportVolume creates a volume whose content comes from next, until it returns io.EOF. If that fails, the incomplete RBD image is left: RemoveDisk
// removes it.
func (c *Cluster) ImportVolume(ctx context.Context, name string, sizeBytes int64, maxPiece int, next func(buf []byte) (offset int64, n int, _ error)) (Disk, error) {
	if err := checkName("volume", name); err != nil {
		return Disk{}, err
	}
	return c.ensureDisk(ctx, name, recipe{
		check: func(*rbd.Image) error { return nil },
		make: func() error {
			if err := create(c.volumes, name, sizeBytes, volumeFeatures); err != nil {
				return err
			}
			return c.configure(name)
		},
		fill: func(id string) (err error) {
			img, err := rbd.OpenImageById(c.volumes, id, "")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, img.Close()) }()
			buf := make([]byte, maxPiece)
			for {
				if err := ctx.Err(); err != nil {
					return err
				}
				offset, n, err := next(buf)
				if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					return img.Flush()
				}
				if err != nil {
					return err
				}
				if _, err := img.WriteAt(buf[:n], offset); err != nil {
					return fmt.Errorf("write at %d: %w", offset, err)
				}
			}
		},
	})
}
