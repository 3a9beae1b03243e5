// SPDX-License-Identifier: Apache-2.0

//go:build linux

package become

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"husk/guest"
)

// mountSystem mounts the kernel's file systems and makes the devices that each container has, and
// those of a privileged one. shm is the shared memory of all containers.
func mountSystem(privileged bool, devices []device, shm tree) error {
	// A cgroup namespace begins at the current group.
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("cgroup namespace: %w", err)
	}
	readOnly := uintptr(unix.MS_RDONLY)
	if privileged {
		readOnly = 0
	}
	for _, m := range []FSMount{
		{"proc", "/proc", "proc", NoExec, ""},
		{"sysfs", "/sys", "sysfs", NoExec | readOnly, ""},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", NoExec | readOnly, ""},
		{"tmpfs", "/dev", "tmpfs", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0755,size=64k"},
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"},
		{"mqueue", "/dev/mqueue", "mqueue", NoExec, ""},
	} {
		// A symbolic link of the image would put the file system elsewhere, and leave a path that the
		// container can change.
		if info, err := os.Lstat(m.Target); err == nil && !info.IsDir() {
			if err := os.Remove(m.Target); err != nil {
				return fmt.Errorf("mount %s: %w", m.Target, err)
			}
		}
		if err := os.MkdirAll(m.Target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.Source, m.Target, m.Kind, m.Flags, m.Data); err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
	}
	if err := shm.attach("/dev/shm"); err != nil {
		return fmt.Errorf("mount /dev/shm: %w", err)
	}
	defer unix.Umask(unix.Umask(0))
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		if err := unix.Mknod("/dev/"+name, unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil {
			return fmt.Errorf("device %s: %w", name, err)
		}
	}
	if err := unix.Mknod("/dev/tty", unix.S_IFCHR|0o666, int(unix.Mkdev(5, 0))); err != nil {
		return fmt.Errorf("device tty: %w", err)
	}
	for _, d := range devices {
		if err := d.make(); err != nil {
			return fmt.Errorf("device %s: %w", d.name, err)
		}
	}
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
		"ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(target, "/dev/"+name); err != nil {
			return err
		}
	}
	return nil
}

// device is a device node of the guest.
type device struct {
	name   string
	mode   uint32
	number uint64
}

// devicesOf returns the guest's devices if the container is privileged. It runs before the root changes.
func devicesOf(c guest.Container) ([]device, error) {
	if !c.Privileged {
		return nil, nil
	}
	entries, err := os.ReadDir("/dev")
	if err != nil {
		return nil, fmt.Errorf("devices: %w", err)
	}
	var all []device
	for _, e := range entries {
		var st unix.Stat_t
		if e.Type()&fs.ModeDevice == 0 || unix.Lstat(filepath.Join("/dev", e.Name()), &st) != nil {
			continue
		}
		all = append(all, device{e.Name(), st.Mode, st.Rdev})
	}
	return all, nil
}

// make creates the device, unless the container has its own of that name.
func (d device) make() error {
	if d.name == "ptmx" { // belongs to its own devpts
		return nil
	}
	if err := unix.Mknod("/dev/"+d.name, d.mode, int(d.number)); !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

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
			err = unix.Mount("", p, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|NoExec, "")
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
			err = unix.Mount("tmpfs", p, "tmpfs", unix.MS_RDONLY|NoExec, "size=0")
		} else if err == nil {
			err = unix.Mount("/dev/null", p, "", unix.MS_BIND, "")
		}
		if err != nil {
			return fmt.Errorf("mask %s: %w", p, err)
		}
	}
	return nil
}
