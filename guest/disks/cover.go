// SPDX-License-Identifier: Apache-2.0

//go:build linux

package disks

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	sector = 512
	// maxCover is at least the size of the largest journal: XFS has up to 2 GiB. The file is sparse.
	maxCover = 2 << 30
	// coverChunk is the unit that the cover copies, in sectors.
	coverChunk = 8
)

// cover makes a device that has the content of a disk and can be written, although the disk cannot: what is written goes to a file in dir. A file
// system that was not unmounted needs it to recover from its journal. The device exists until the machine ends.
func cover(dev, dir string) (covered string, err error) {
	size, err := sectors(dev)
	if err != nil {
		return "", err
	}
	loop, err := loopOver(filepath.Join(dir, "cover-"+dev), min(size*sector, maxCover))
	if err != nil {
		return "", fmt.Errorf("loop device: %w", err)
	}
	defer func() { err = errors.Join(err, loop.Close()) }() // the cover keeps it open, and it ends with the cover
	control, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer control.Close()
	name := "cover-" + dev
	made, err := deviceMapper(control, unix.DM_DEV_CREATE, name, 0, nil)
	if err != nil {
		return "", fmt.Errorf("create the device %s: %w", name, err)
	}
	table := fmt.Sprintf("/dev/%s %s N %d", dev, loop.Name(), coverChunk)
	if _, err := deviceMapper(control, unix.DM_TABLE_LOAD, name, size, []byte(table)); err != nil {
		return "", fmt.Errorf("make the device %s from %q: %w", name, table, err)
	}
	if _, err := deviceMapper(control, unix.DM_DEV_SUSPEND, name, 0, nil); err != nil { // without a flag: resume
		return "", fmt.Errorf("start the device %s: %w", name, err)
	}
	return "dm-" + strconv.FormatUint(uint64(unix.Minor(made.Dev)), 10), nil
}

// sectors returns the size of a disk in sectors.
func sectors(dev string) (int64, error) {
	text, err := os.ReadFile(filepath.Join("/sys/block", dev, "size"))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// loopOver makes a file a block device, until the device is no longer used.
func loopOver(file string, size int64) (_ *os.File, err error) {
	backing, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, backing.Close(), os.Remove(file)) }() // the device keeps it
	if err := backing.Truncate(size); err != nil {
		return nil, err
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, err
	}
	loop, err := os.OpenFile("/dev/loop"+strconv.Itoa(number), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	config := unix.LoopConfig{Fd: uint32(backing.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
	if err := unix.IoctlLoopConfigure(int(loop.Fd()), &config); err != nil {
		return nil, errors.Join(err, loop.Close())
	}
	return loop, nil
}

// deviceMapper does an ioctl of the device mapper (include/uapi/linux/dm-ioctl.h), with a table of one target if there are parameters.
func deviceMapper(control *os.File, number uintptr, name string, length int64, parameters []byte) (unix.DmIoctl, error) {
	header := unix.DmIoctl{Version: [3]uint32{4, 0, 0}, Data_start: uint32(unsafe.Sizeof(unix.DmIoctl{}))}
	copy(header.Name[:len(header.Name)-1], name)
	target := unix.DmTargetSpec{Length: uint64(length)}
	copy(target.Target_type[:], "snapshot")
	data := make([]uint64, 512) // aligned, and large enough for the table
	buffer := unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), len(data)*8)
	header.Data_size = uint32(len(buffer))
	if parameters != nil {
		header.Target_count = 1
		rest := buffer[header.Data_start:]
		if n := int(unsafe.Sizeof(target)); n+len(parameters) >= len(rest) {
			return header, fmt.Errorf("the table has %d bytes", len(parameters))
		}
		*(*unix.DmTargetSpec)(unsafe.Pointer(&rest[0])) = target
		copy(rest[unsafe.Sizeof(target):], parameters)
	}
	*(*unix.DmIoctl)(unsafe.Pointer(&buffer[0])) = header
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), number, uintptr(unsafe.Pointer(&buffer[0]))); errno != 0 {
		return header, errno
	}
	return *(*unix.DmIoctl)(unsafe.Pointer(&buffer[0])), nil
}
