// SPDX-License-Identifier: Apache-2.0

//go:build linux

package disks

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"husk/guest"
)

// growWait is how long the machine may take to notice that a disk has become larger.
const growWait = 10 * time.Second

// ext4Resize is EXT4_IOC_RESIZE_FS of Linux' fs/ext4/ext4.h: it makes a mounted file system have so many blocks.
const ext4Resize = 0x40086610

// Grow waits until the disk of a mounted volume has this size in bytes, and makes the file system as large as the disk.
func (v Volume) Grow(ctx context.Context, size int64) error {
	has, err := v.awaitSize(ctx, size)
	if err != nil || v.readOnly || v.fsType == guest.BlockType {
		return err
	}
	dir, err := os.Open(v.target())
	if err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	defer dir.Close()
	if v.fsType == guest.XFSType {
		if err := growXFS(dir, has); err != nil {
			return fmt.Errorf("volume %s: grow the file system to %d bytes: %w", v.Name, has, err)
		}
		return nil
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &fs); err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	blocks := uint64(has / fs.Bsize)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), ext4Resize, uintptr(unsafe.Pointer(&blocks))); errno != 0 {
		return fmt.Errorf("volume %s: grow the file system to %d bytes: %w", v.Name, has, errno)
	}
	return nil
}

// The numbers of Linux' fs/xfs/libxfs/xfs_fs.h: XFS_IOC_FSGEOMETRY_V1 and XFS_IOC_FSGROWFSDATA.
const (
	xfsGeometry = 0x80705864
	xfsGrow     = 0x4010586e
)

// growXFS makes a mounted xfs as large as its disk.
func growXFS(dir *os.File, bytes int64) error {
	var geometry struct { // struct xfs_fsop_geom_v1
		blockSize, _, _, _, _, _, _, inodePercent uint32
		blocks                                    uint64
		_                                         [72]byte
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), xfsGeometry, uintptr(unsafe.Pointer(&geometry))); errno != 0 {
		return errno
	}
	to := struct { // struct xfs_growfs_data
		blocks       uint64
		inodePercent uint32
		_            uint32
	}{blocks: uint64(bytes) / uint64(geometry.blockSize), inodePercent: geometry.inodePercent}
	if to.blocks <= geometry.blocks {
		return nil
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), xfsGrow, uintptr(unsafe.Pointer(&to))); errno != 0 {
		return errno
	}
	return nil
}

// awaitSize waits until the disk has at least this size, and returns its size.
func (v Volume) awaitSize(ctx context.Context, size int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, growWait)
	defer cancel()
	for {
		raw, err := os.ReadFile(filepath.Join("/sys/block", v.dev, "size"))
		if err != nil {
			return 0, fmt.Errorf("volume %s: %w", v.Name, err)
		}
		const sector = 512 // in this file, whatever the disk has
		sectors, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
		if err != nil || sectors*sector >= size {
			return sectors * sector, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return 0, fmt.Errorf("volume %s: the disk has %d bytes and has not become larger", v.Name, sectors*sector)
		}
	}
}
