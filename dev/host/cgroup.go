// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	cgroupRoot = "/sys/fs/cgroup"
	// leaf is the group of a host's own programs, where the machine has only cgroup v2. There, a group with
	// processes cannot have controllers for groups below it, and libvirt makes such groups.
	leaf = "init"
)

// groups are a host's cgroups: one in each hierarchy of cgroup v1, which may include one of cgroup v2 without controllers, or
// one of cgroup v2 alone. Libvirt names the group of a
// domain after the pod. Without groups of its own, a host that runs a pod again would share that group with the
// host that ran it before.
type groups struct {
	folders []string
	v2      bool
	adopter *os.File // the group of cgroup v2 in which programs start, after enter
}

// groupsAt returns the groups with a path below the root of each hierarchy.
func groupsAt(path string) groups {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return groupsIn([]string{filepath.Join(cgroupRoot, path)})
	}
	roots, _ := filepath.Glob(cgroupRoot + "/*/cgroup.procs") // the only error is about the pattern
	folders := make([]string, 0, len(roots))
	for _, r := range roots {
		folders = append(folders, filepath.Join(filepath.Dir(r), path))
	}
	return groupsIn(folders)
}

func groupsIn(folders []string) groups {
	_, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers"))
	return groups{folders: folders, v2: err == nil}
}

func (g groups) create() error {
	for _, dir := range g.folders {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a cgroup
			return err
		}
		fleet := filepath.Dir(dir)
		if g.v2 {
			if err := errors.Join(delegate(filepath.Dir(fleet)), delegate(fleet)); err != nil {
				return err
			}
		}
		// A group of cgroup v1 can have processes only after it has processors and memory nodes.
		inherit(fleet)
		inherit(dir)
	}
	return nil
}

// delegate makes all controllers of a group of cgroup v2 available to the groups below it.
func delegate(dir string) error {
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for c := range strings.FieldsSeq(string(controllers)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0o644); err != nil { //nolint:gosec // a cgroup
			return fmt.Errorf("use controller %s: %w", c, err)
		}
	}
	return nil
}

// inherit copies the sets of processors and memory nodes from the outer group, if they exist.
func inherit(dir string) {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		if outer, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name)); err == nil {
			_ = os.WriteFile(filepath.Join(dir, name), outer, 0o644) //nolint:gosec,errcheck // joining the group reports a failure
		}
	}
}

// isolate makes the groups the root of what this process and its children see.
func (g groups) isolate() error {
	for _, dir := range g.folders {
		if err := join(dir, "cgroup.procs", 0); err != nil {
			return err
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("unshare cgroups: %w", err)
	}
	if g.v2 {
		return g.isolate2()
	}
	if err := unix.Unmount(cgroupRoot, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", cgroupRoot, err)
	}
	if err := mount("tmpfs", cgroupRoot, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	list, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(list)) {
		_, rest, _ := strings.Cut(line, ":")
		options, _, _ := strings.Cut(rest, ":")
		if options == "" { // cgroup v2 next to v1 has no controllers
			continue
		}
		if err := mount("cgroup", filepath.Join(cgroupRoot, strings.TrimPrefix(options, "name=")), "cgroup", 0, options); err != nil {
			return err
		}
	}
	return nil
}

// isolate2 does the same where the machine has only cgroup v2.
func (g groups) isolate2() error {
	if err := unix.Unmount(cgroupRoot, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", cgroupRoot, err)
	}
	if err := mount("cgroup2", cgroupRoot, "cgroup2", 0, ""); err != nil {
		return err
	}
	dir := filepath.Join(cgroupRoot, leaf)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a cgroup
		return err
	}
	if err := join(dir, "cgroup.procs", 0); err != nil {
		return err
	}
	return delegate(cgroupRoot)
}

// enter moves this thread into the groups of cgroup v1, and prepares adopt for cgroup v2.
func (g *groups) enter() (err error) {
	if g.v2 {
		g.adopter, err = os.Open(filepath.Join(g.folders[0], leaf))
		return err
	}
	for _, dir := range g.folders {
		const tasks = "tasks"
		if _, missing := os.Stat(filepath.Join(dir, tasks)); missing != nil { // with cgroup v2, a thread cannot be in another group than its process
			g.adopter, err = os.Open(dir)
		} else {
			err = join(dir, tasks, unix.Gettid())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// adopt makes a command start in the group of cgroup v2.
func (g *groups) adopt(attr *syscall.SysProcAttr) {
	if g.adopter != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(g.adopter.Fd())
	}
}

// join puts a process or a thread into a group; 0 is the caller.
func join(dir, file string, id int) error {
	if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(id)), 0o644); err != nil { //nolint:gosec // a cgroup
		return fmt.Errorf("join cgroup: %w", err)
	}
	return nil
}

// remove removes the groups and those in them. A process that has just ended may still be counted.
func (g *groups) remove() error {
	if g.adopter != nil {
		_ = g.adopter.Close()
	}
	var err error
	for range 50 {
		if err = g.removeOnce(); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

func (g *groups) removeOnce() error {
	var failures []error
	for _, dir := range g.folders {
		var inner []string
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				inner = append(inner, path)
			}
			return nil
		})
		for _, group := range slices.Backward(inner) {
			if err := os.Remove(group); err != nil && !errors.Is(err, fs.ErrNotExist) {
				failures = append(failures, err)
			}
		}
	}
	return errors.Join(failures...)
}

// RemoveGroups removes the groups that hosts of earlier processes left below a path, and the path.
func RemoveGroups(path string) error {
	g := groupsAt(path)
	return g.remove()
}
