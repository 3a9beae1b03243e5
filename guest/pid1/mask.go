// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// The kernel's files that a container does not see, and those that it can only read. The lists are
// Docker's defaults (moby/moby, oci/defaults.go), and so is how runc hides them
// (opencontainers/runc, libcontainer/rootfs_linux.go). Most of these files belong to root, and the
// kernel checks only that: it needs no capability to write /proc/sys/kernel/core_pattern, whose
// program the kernel then runs outside of every container.
var (
	masked = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
		"/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	}
	readOnlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// hideKernel mounts something harmless over what a container could use against husk-init and the
// other containers. Paths that the kernel does not have are skipped.
func hideKernel() error {
	for _, p := range readOnlyPaths {
		err := unix.Mount(p, p, "", unix.MS_BIND|unix.MS_REC, "")
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err == nil {
			err = unix.Mount("", p, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|noExec, "")
		}
		if err != nil {
			return fmt.Errorf("make %s read-only: %w", p, err)
		}
	}
	for _, p := range masked {
		info, err := os.Lstat(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && info.IsDir() {
			err = unix.Mount("tmpfs", p, "tmpfs", unix.MS_RDONLY|noExec, "size=0")
		} else if err == nil {
			err = unix.Mount("/dev/null", p, "", unix.MS_BIND, "")
		}
		if err != nil {
			return fmt.Errorf("mask %s: %w", p, err)
		}
	}
	return nil
}
