// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

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
// those of a privileged one.
func mountSystem(privileged bool, devices []device) error {
	// A cgroup namespace begins at the current group.
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("cgroup namespace: %w", err)
	}
	readOnly := uintptr(unix.MS_RDONLY)
	if privileged {
		readOnly = 0
	}
	for _, m := range []fsMount{
		{"proc", "/proc", "proc", noExec, ""},
		{"sysfs", "/sys", "sysfs", noExec | readOnly, ""},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", noExec | readOnly, ""},
		{"tmpfs", "/dev", "tmpfs", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0755,size=64k"},
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"},
		{"shm", "/dev/shm", "tmpfs", noExec, "mode=1777,size=50%"},
		{"mqueue", "/dev/mqueue", "mqueue", noExec, ""},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
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
