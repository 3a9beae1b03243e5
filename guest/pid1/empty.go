// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"husk/guest"
	"husk/guest/become"
	"husk/guest/fill"
	"husk/guest/scratch"
)

// emptyDir has the empty directories that share the scratch space of the pod.
const emptyDir = scratchDir + "/empty"

// makeEmpty makes an empty directory that all users can write to, or all users of a group.
func makeEmpty(v guest.Volume, group *uint32, disk *scratch.Disk) error {
	target := filepath.Join(become.VolumesDir, v.Name)
	if err := mountEmpty(target, v, disk); err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	if err := unix.Chmod(target, 0o777); err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	if group != nil {
		if err := fill.Group(target, int(*group)); err != nil {
			return fmt.Errorf("volume %s: give it to group %d: %w", v.Name, *group, err)
		}
	}
	return nil
}

func mountEmpty(target string, v guest.Volume, disk *scratch.Disk) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	const flags = unix.MS_NODEV
	if v.Memory || v.SizeMiB > 0 && disk == nil {
		return unix.Mount("tmpfs", target, "tmpfs", flags, sizeOption(v.SizeMiB))
	}
	source := filepath.Join(emptyDir, v.Name)
	if err := os.MkdirAll(source, 0o755); err != nil {
		return err
	}
	if v.SizeMiB > 0 {
		if err := disk.Limit(source, v.SizeMiB); err != nil {
			return fmt.Errorf("limit its size: %w", err)
		}
	}
	return unix.Mount(source, target, "", unix.MS_BIND, "")
}

// mountShm makes the shared memory of the containers. It is one file system, so that they find each
// other's segments, and those of their previous runs.
func mountShm(sizeMiB int) error {
	if err := os.MkdirAll(become.ShmDir, 0o755); err != nil {
		return err
	}
	return unix.Mount("shm", become.ShmDir, "tmpfs", become.NoExec, "mode=1777,"+sizeOption(sizeMiB))
}

// sizeOption limits a file system in memory. 0 is half of the memory.
func sizeOption(mib int) string {
	if mib == 0 {
		return "size=50%"
	}
	return fmt.Sprintf("size=%dm", mib)
}
