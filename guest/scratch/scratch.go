// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package scratch mounts the disk with everything that containers write outside of volumes.
package scratch

import (
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Disk is a mounted scratch disk.
type Disk struct {
	dev      string
	projects uint32 // with limits
}

// Mount mounts the scratch disk with this name in /dev. Without a name, it makes a file system in memory and returns nil. That is limited to half
// of the memory, so that a full disk is a separate error and does not trigger the OOM killer.
func Mount(name, target string) (*Disk, error) {
	if name == "" {
		return nil, unix.Mount("tmpfs", target, "tmpfs", unix.MS_NODEV, "mode=0755,size=50%")
	}
	// Nobody reads the disk after the machine has ended, so its order of writes does not matter. The node gets back what is deleted.
	if err := unix.Mount("/dev/"+name, target, "ext4", unix.MS_NODEV, "nobarrier,discard,prjquota,errors=remount-ro"); err != nil {
		return nil, err
	}
	return &Disk{dev: "/dev/" + name}, os.Remove(filepath.Join(target, "lost+found"))
}

// Numbers of the kernel (include/uapi/linux/fs.h, quota.h), which package unix lacks.
const (
	fsGetXattr      = 0x801c581f
	fsSetXattr      = 0x401c5820
	projectInherit  = 0x200
	setProjectQuota = 0x800008<<8 | 2 // QCMD(Q_SETQUOTA, PRJQUOTA)
	limitsOfBlocks  = 1               // QIF_BLIMITS
	mib             = 1 << 10         // in blocks of a quota
)

// fsXattr is struct fsxattr.
type fsXattr struct {
	flags, extentSize, extents, project, cowExtentSize uint32
	_                                                  [8]byte
}

// diskQuota is struct if_dqblk.
type diskQuota struct {
	hardBlocks, softBlocks, space, hardInodes, softInodes, inodes, blockTime, inodeTime uint64
	valid                                                                               uint32
	_                                                                                   uint32
}

// Limit limits an empty directory: everything in it belongs to a project with a quota. Processes with the capability SYS_RESOURCE are not bound by
// it, but by the size of the disk.
func (s *Disk) Limit(dir string, sizeMiB int) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	s.projects++
	var attr fsXattr
	if err := errnoOf(unix.Syscall(unix.SYS_IOCTL, d.Fd(), fsGetXattr, uintptr(unsafe.Pointer(&attr)))); err != nil {
		return err
	}
	attr.project, attr.flags = s.projects, attr.flags|projectInherit
	if err := errnoOf(unix.Syscall(unix.SYS_IOCTL, d.Fd(), fsSetXattr, uintptr(unsafe.Pointer(&attr)))); err != nil {
		return err
	}
	dev, err := unix.BytePtrFromString(s.dev)
	if err != nil {
		return err
	}
	quota := diskQuota{hardBlocks: uint64(sizeMiB) * mib, softBlocks: uint64(sizeMiB) * mib, valid: limitsOfBlocks}
	return errnoOf(unix.Syscall6(unix.SYS_QUOTACTL, setProjectQuota, uintptr(unsafe.Pointer(dev)), uintptr(s.projects), uintptr(unsafe.Pointer(&quota)), 0, 0))
}

func errnoOf(_, _ uintptr, errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}
