// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// moduleLists are the modules by name. husk-init loads the early ones before it can talk to its
// host, so there should be few. It loads the late ones during the handshake, those for volumes and
// for xfs if the pod has such volumes, those for covers if a snapshot's file system has to recover, and those for a
// change of the size when it comes. A name that a kernel has neither as a module nor built in is an error.
var moduleLists = []struct {
	name    string
	modules []string
}{
	{"early", []string{"virtio_pci", "virtio_console"}},
	{"late", []string{"virtio_blk", "squashfs", "overlay", "virtio_net"}},
	{"volume", []string{"ext4", "quota_v2"}},
	{"xfs", []string{"xfs"}},
	{"cover", []string{"dm_snapshot", "loop"}},
	{"resize", []string{"virtio_mem"}},
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
