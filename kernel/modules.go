// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// moduleLists are the modules by name. husk-init loads the early ones before it can talk to its
// host, so there should be few. It loads the late ones during the handshake, those for volumes and
// for xfs if the pod has such volumes, and those for covers if a snapshot's file system has to recover. A name that a kernel has neither as a module nor built in is an error.
var moduleLists = []struct {
	name    string
	modules []string
}{
	{"early", []string{"virtio_pci", "virtio_console"}},
	{"late", []string{"virtio_blk", "squashfs", "overlay", "virtio_net"}},
	{"volume", []string{"ext4", "quota_v2"}},
	{"xfs", []string{"xfs"}},
	{"cover", []string{"dm_snapshot", "loop"}},
}

// moduleSet is the modules of a kernel, by name.
type moduleSet struct {
	dir     string
	path    map[string]string   // relative to dir
	needs   map[string][]string // names
	builtin map[string]bool
}

// readModules reads modules.dep and modules.builtin of /lib/modules/VERSION.
func readModules(dir string) (*moduleSet, error) {
	set := &moduleSet{dir: dir, path: map[string]string{}, needs: map[string][]string{}, builtin: map[string]bool{}}
	err := eachLine(filepath.Join(dir, "modules.dep"), func(line string) error {
		file, deps, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("line %q: no colon", line)
		}
		name := moduleName(file)
		set.path[name] = file
		for dep := range strings.FieldsSeq(deps) {
			set.needs[name] = append(set.needs[name], moduleName(dep))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = eachLine(filepath.Join(dir, "modules.builtin"), func(line string) error {
		set.builtin[moduleName(line)] = true
		return nil
	})
	return set, err
}

func eachLine(file string, do func(string) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if err := do(lines.Text()); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return lines.Err()
}

// moduleName returns the name by which the kernel knows a module's file.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// resolve sorts modules so that each comes after those it needs. It leaves out modules that are
// built in, and the ones in the map have. It returns paths relative to the set's dir.
func (s *moduleSet) resolve(names []string, have map[string]bool) ([]string, error) {
	var order []string
	var visit func(name string) error
	visit = func(name string) error {
		if have[name] || s.builtin[name] {
			return nil
		}
		file, ok := s.path[name]
		if !ok {
			return fmt.Errorf("module %s: not in the kernel in %s", name, s.dir)
		}
		have[name] = true
		for _, dep := range s.needs[name] {
			if err := visit(dep); err != nil {
				return err
			}
		}
		order = append(order, file)
		return nil
	}
	for _, n := range names {
		if err := visit(n); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// FindVersion returns the newest cloud kernel that is installed with its modules, by the names in
// /boot and /lib/modules.
func FindVersion() (string, error) {
	images, err := filepath.Glob("/boot/vmlinuz-*-cloud-amd64")
	if err != nil {
		return "", err
	}
	slices.SortFunc(images, compareVersions)
	for _, image := range slices.Backward(images) {
		version := strings.TrimPrefix(filepath.Base(image), "vmlinuz-")
		if _, err := os.Stat(filepath.Join("/lib/modules", version, "modules.dep")); err == nil {
			return version, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", errors.New("no cloud kernel in /boot: install linux-image-cloud-amd64")
}

// compareVersions compares two strings. It compares the numbers in them by value.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		if isDigit(a[0]) && isDigit(b[0]) {
			x, y := leadingDigits(a), leadingDigits(b)
			a, b = a[len(x):], b[len(y):]
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			if c := strings.Compare(x, y); c != 0 {
				return c
			}
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func leadingDigits(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}
