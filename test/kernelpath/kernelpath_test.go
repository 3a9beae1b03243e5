// SPDX-License-Identifier: Apache-2.0

package kernelpath

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cavaliergopher/cpio"

	"husk/kernel"
	"husk/test/pace"
)

const root = "../.."

// The tests that need the machine's programs only.
const tests = "^(TestPodsReachTheirOwnNetworkAcrossNodesWhateverFails|TestThisMachineCanBeANode|TestAKilledFleetLeavesNoNetworks)$"

func TestNodesUseTheDatapathInTheKernel(t *testing.T) {
	debian, err := kernel.Find("debian")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "dev.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-o", binary, "./dev")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	initramfs := filepath.Join(dir, "initramfs")
	writeImage(t, initramfs, debian.Name, binary)

	ctx, cancel := context.WithTimeout(t.Context(), pace.Limit(6*time.Minute))
	defer cancel()
	out, err := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-monitor", "none", "-serial", "stdio",
		"-kernel", debian.Image, "-initrd", initramfs, "-append", "console=ttyS0 panic=-1 quiet").CombinedOutput()
	text := strings.ReplaceAll(string(out), "\r", "")
	if err != nil {
		t.Fatalf("the machine did not end in time: %v\n%s", err, text)
	}
	for _, want := range []string{"Open vSwitch uses the kernel's datapath", "\nthe tests ended with code 0\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the machine did not print %q", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func writeImage(t *testing.T, name, version, binary string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := &image{t, cpio.NewWriter(f), map[string]bool{}}
	for _, dir := range []string{"dev", "proc", "run", "sys", "tmp"} {
		m.add(dir, cpio.TypeDir|0o755, nil)
	}
	m.add("dev/null", cpio.TypeReg|0o600, nil) // until devtmpfs covers it
	m.add("init", cpio.TypeReg|0o755, initScript(tests))
	for _, p := range []string{"sh", "sleep", "dd", "tr", "wc", "timeout", "mkfifo", "cut", "grep", "mount", "ip", "nft", "busybox", "modprobe"} {
		path, err := exec.LookPath(p)
		if err != nil {
			t.Fatal(err)
		}
		m.program("bin/"+p, path)
	}
	m.add("sbin/modprobe", cpio.TypeSymlink|0o777, []byte("/bin/modprobe"))
	m.modules(version)
	m.vswitch("work/build/ovn", filepath.Join(root, "build/ovn"))
	m.copy("work/dev/dev.test", binary)
	if err := m.w.Close(); err != nil {
		t.Fatal(err)
	}
}
