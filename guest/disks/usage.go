// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"golang.org/x/sys/unix"

	"husk/guest"
)

// Usage returns how full the file system is that is mounted in a directory, or nil if there is none.
func Usage(dir string) *guest.FileSystemStats {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || fs.Bsize <= 0 || fs.Bfree > fs.Blocks || fs.Bavail > fs.Bfree {
		return nil
	}
	block, used := uint64(fs.Bsize), fs.Blocks-fs.Bfree
	return &guest.FileSystemStats{UsedBytes: used * block, CapacityBytes: (used + fs.Bavail) * block}
}

// Usage returns how full the volume is.
func (v Volume) Usage() *guest.FileSystemStats { return Usage(v.target()) }
