// SPDX-License-Identifier: Apache-2.0

package kernelpath

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
)

// image writes an initramfs. It contains each path once.
type image struct {
	t    *testing.T
	w    *cpio.Writer
	have map[string]bool
}

func (m *image) add(name string, mode cpio.FileMode, content []byte) {
	m.t.Helper()
	name = strings.TrimPrefix(filepath.Clean(name), "/")
	if m.have[name] {
		return
	}
	if dir := filepath.Dir(name); dir != "." {
		m.add(dir, cpio.TypeDir|0o755, nil)
	}
	m.have[name] = true
	err := m.w.WriteHeader(&cpio.Header{Name: name, Mode: mode, Links: 1, Size: int64(len(content))})
	if err == nil {
		_, err = m.w.Write(content)
	}
	if err != nil {
		m.t.Fatalf("add %s: %v", name, err)
	}
}

// copy adds a file of this machine under another name.
func (m *image) copy(name, from string) {
	m.t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		m.t.Fatal(err)
	}
	m.add(name, cpio.TypeReg|0o755, content)
}

// tree adds a directory without those files that skip refuses.
func (m *image) tree(name, from string, skip func(path string) bool) {
	m.t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || skip(path) {
			return err
		}
		to := filepath.Join(name, strings.TrimPrefix(path, from))
		if d.Type() == fs.ModeSymlink {
			target, err := os.Readlink(path)
			m.add(to, cpio.TypeSymlink|0o777, []byte(target))
			return err
		}
		m.copy(to, path)
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

// program adds a program of this machine and the libraries that it needs, which have the same paths there.
func (m *image) program(name, path string) {
	m.t.Helper()
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		m.t.Fatal(err)
	}
	m.copy(name, path)
	list, err := exec.CommandContext(m.t.Context(), "ldd", path).CombinedOutput()
	if err != nil && !bytes.Contains(list, []byte("not a dynamic executable")) {
		m.t.Fatalf("ldd %s: %v: %s", path, err, list)
	}
	for word := range strings.FieldsSeq(string(list)) {
		if strings.HasPrefix(word, "/") {
			m.copy(word, strings.TrimSuffix(word, ":"))
		}
	}
}

// vswitch adds Open vSwitch and OVN: as deps.sh has unpacked them, or those of the system.
func (m *image) vswitch(to, from string) {
	m.t.Helper()
	programs, err := filepath.Glob(from + "/bin/*")
	if err != nil || len(programs) == 0 {
		m.t.Fatalf("%s has no programs; run ./deps.sh: %v", from, err)
	}
	for _, p := range programs {
		if _, err := os.Lstat(from + "/root"); err == nil {
			m.copy(filepath.Join(to, "bin", filepath.Base(p)), p)
		} else {
			m.program(filepath.Join(to, "bin", filepath.Base(p)), p)
		}
	}
	schemas, err := filepath.Glob(from + "/share/*")
	if err != nil {
		m.t.Fatal(err)
	}
	for _, s := range schemas {
		m.copy(filepath.Join(to, "share", filepath.Base(s)), s)
	}
	if _, err := os.Lstat(from + "/root"); err == nil {
		m.tree(to+"/root/usr", from+"/root/usr", func(path string) bool {
			return strings.Contains(path, "/usr/share/") || strings.Contains(path, "/python3/") || strings.HasSuffix(path, ".a")
		})
	}
}

// modules adds the modules of a kernel that networks may need.
func (m *image) modules(version string) {
	m.t.Helper()
	dir := "/lib/modules/" + version
	lists, err := filepath.Glob(dir + "/modules.*")
	if err != nil {
		m.t.Fatal(err)
	}
	for _, l := range lists {
		m.copy(l, l)
	}
	for _, part := range []string{"net", "drivers/net", "lib", "crypto", "arch"} {
		part = dir + "/kernel/" + part
		m.tree(part, part, func(path string) bool {
			return strings.Contains(path, "/drivers/net/ethernet/") || strings.Contains(path, "/drivers/net/wwan/")
		})
	}
}

// initScript returns process 1 of the machine. The kernel calls /sbin/modprobe by itself, too.
func initScript(tests string) []byte {
	return fmt.Appendf(nil, `#!/bin/sh
export PATH=/bin:/sbin
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev
mount -t tmpfs none /tmp; mount -t tmpfs none /run; mount -t cgroup2 none /sys/fs/cgroup
ip link set lo up
for m in tun veth bridge nf_tables openvswitch; do modprobe $m; done
cd /work/dev
./dev.test -test.v -test.timeout 30m -test.run '%s'
echo "the tests ended with code $?"
echo o > /proc/sysrq-trigger
sleep 60
`, tests)
}
