// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/google/go-cmp/cmp"
)

// fakeModules returns the directory of a kernel that has all modules of the lists. The module ext4
// is built in.
func fakeModules(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"modules.builtin": "kernel/fs/ext4/ext4.ko\n",
		"modules.dep": `kernel/virtio.ko: kernel/virtio_ring.ko
kernel/virtio_ring.ko:
kernel/virtio_pci.ko: kernel/virtio_pci_modern_dev.ko kernel/virtio.ko kernel/virtio_ring.ko
kernel/virtio_pci_modern_dev.ko:
kernel/virtio_blk.ko: kernel/virtio.ko kernel/virtio_ring.ko
kernel/virtio_console.ko: kernel/virtio.ko kernel/virtio_ring.ko
kernel/virtio_net.ko: kernel/net_failover.ko kernel/failover.ko kernel/virtio.ko kernel/virtio_ring.ko
kernel/net_failover.ko: kernel/failover.ko
kernel/failover.ko:
kernel/squashfs.ko:
kernel/xfs.ko: kernel/libcrc32c.ko
kernel/libcrc32c.ko:
kernel/overlay.ko:
kernel/loop.ko:
kernel/virtio_mem.ko: kernel/virtio.ko kernel/virtio_ring.ko
kernel/dm-mod.ko:
kernel/dm-bufio.ko: kernel/dm-mod.ko
kernel/dm-snapshot.ko: kernel/dm-bufio.ko kernel/dm-mod.ko
kernel/quota_v2.ko: kernel/quota_tree.ko
kernel/quota_tree.ko:
`,
	}
	for _, name := range []string{
		"virtio", "virtio_ring", "virtio_pci", "virtio_pci_modern_dev", "virtio_blk", "virtio_console",
		"virtio_net", "net_failover", "failover", "squashfs", "overlay", "quota_v2", "quota_tree", "xfs", "libcrc32c", "loop", "virtio_mem", "dm-mod", "dm-bufio", "dm-snapshot",
	} {
		files["kernel/"+name+".ko"] = "module " + name
	}
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestModulesAreLoadedAfterTheirDependencies(t *testing.T) {
	t.Parallel()
	set, err := readModules(fakeModules(t))
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	var files, loaded []string
	for _, list := range moduleLists {
		more, err := set.resolve(list.modules, have)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	for _, file := range files {
		name := moduleName(file)
		for _, need := range set.needs[name] {
			if !slices.Contains(loaded, need) {
				t.Errorf("%s is loaded before %s", name, need)
			}
		}
		if slices.Contains(loaded, name) {
			t.Errorf("%s is loaded twice", name)
		}
		loaded = append(loaded, name)
	}
	if slices.Contains(loaded, "ext4") {
		t.Error("ext4 is built in, but is loaded")
	}
}

func TestUnknownModuleIsAnError(t *testing.T) {
	t.Parallel()
	set, err := readModules(fakeModules(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.resolve([]string{"nosuch"}, map[string]bool{}); err == nil || !strings.Contains(err.Error(), "module nosuch") {
		t.Errorf("got %v; want an error that names the module", err)
	}
}

func TestInitramfsIsTheSameEveryTime(t *testing.T) {
	t.Parallel()
	dir := fakeModules(t)
	init := filepath.Join(t.TempDir(), "init")
	if err := os.WriteFile(init, []byte("program"), 0o700); err != nil {
		t.Fatal(err)
	}
	var one, two bytes.Buffer
	for _, w := range []io.Writer{&one, &two} {
		if err := WriteInitramfs(w, init, init, dir); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("two runs differ")
	}
	got := map[string]string{}
	for r := cpio.NewReader(&one); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = string(b)
	}
	want := "/modules/virtio_pci_modern_dev.ko\n/modules/virtio_ring.ko\n/modules/virtio.ko\n/modules/virtio_pci.ko\n/modules/virtio_console.ko\n"
	if diff := cmp.Diff(want, got["modules/early"]); diff != "" {
		t.Errorf("modules/early (-want +got):\n%s", diff)
	}
	if got["init"] != "program" || got["modules/overlay.ko"] != "module overlay" {
		t.Errorf("archive lacks content: %q", got)
	}
}

func TestVersionsAreOrderedByNumber(t *testing.T) {
	t.Parallel()
	got := []string{"6.1.0-9-cloud", "6.12.0-1-cloud", "6.1.0-56-cloud", "6.1.0-10-cloud"}
	slices.SortFunc(got, compareVersions)
	if diff := cmp.Diff([]string{"6.1.0-9-cloud", "6.1.0-10-cloud", "6.1.0-56-cloud", "6.12.0-1-cloud"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestCmdlineKeepsMitigations(t *testing.T) {
	t.Parallel()
	line := Cmdline("ttyS0", true)
	if !strings.HasPrefix(line, "console=ttyS0 ") {
		t.Errorf("no console in %q", line)
	}
	for _, bad := range []string{"mitigations=off", "nokaslr", "nopti", "nosmep", "nosmap", "spectre"} {
		if strings.Contains(line, bad) {
			t.Errorf("%q turns off %s", line, bad)
		}
	}
	if strings.Contains(Cmdline("", false), "console=") {
		t.Error("the command line has a console that was not requested")
	}
}
