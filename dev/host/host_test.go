// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"husk/dev/host"
)

func TestMain(m *testing.M) {
	host.BeInit()
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, name string, binds map[string]string) *host.Host {
	t.Helper()
	h, err := host.Start(forker(t), host.Config{
		Name: name, Binds: binds, Temporary: []string{"/run"}, Cgroup: "husk-test-" + name + "/host",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if err := host.RemoveGroups("husk-test-" + name); err != nil {
			t.Error(err)
		}
	})
	return h
}

// forker starts commands on a thread that lives as long as the test.
func forker(t *testing.T) func(*exec.Cmd) error {
	t.Helper()
	f := host.NewForker()
	t.Cleanup(f.Close)
	return f.Start
}

// sh runs a script in the host and returns its output.
func sh(t *testing.T, h *host.Host, script string) string {
	t.Helper()
	var out strings.Builder
	cmd := exec.Command("sh", "-c", script)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := h.Fork(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, out.String())
	}
	return strings.TrimSpace(out.String())
}

func TestAHostSeesNothingOfOthers(t *testing.T) {
	a, b := start(t, "a", nil), start(t, "b", nil)
	if got := sh(t, a, "hostname"); got != "a" {
		t.Errorf("the host name of a is %q", got)
	}
	sh(t, a, "touch /run/mine && ip link add mine type bridge")
	if got := sh(t, b, "ls /run; ip -br link | cut -d' ' -f1; cat /sys/fs/cgroup/memory/cgroup.procs /sys/fs/cgroup/init/cgroup.procs 2>/dev/null | head -1"); got != "lo\n1" {
		t.Errorf("b sees %q", got)
	}
	if got := sh(t, a, "cat /proc/self/cgroup"); strings.Contains(got, "husk-test") || strings.Contains(got, "..") {
		t.Errorf("a sees the groups outside of it:\n%s", got)
	}
	// Both make a group with the same name, as libvirt does for a pod that moves.
	group := func(h *host.Host) string {
		return sh(t, h, "d=$(ls -d /sys/fs/cgroup/memory 2>/dev/null || echo /sys/fs/cgroup); mkdir $d/pod && stat -c %i $d/pod")
	}
	if group(a) == group(b) {
		t.Error("the hosts share a cgroup")
	}
	if _, err := os.Stat(a.Path("/run/mine")); err != nil {
		t.Error(err)
	}
}

func TestProcessesOfAHostAreReaped(t *testing.T) {
	h := start(t, "a", nil)
	sh(t, h, "(sh -c 'sleep 0.05 & exit' &)") // the sleep becomes a child of process 1, as QEMU does
	eventually(t, func() error {
		ids, err := h.Processes()
		if err == nil && len(ids) != 1 {
			err = fmt.Errorf("the host has the processes %v", ids)
		}
		return err
	})
}

func TestAKilledHostKeepsOnlyItsDisks(t *testing.T) {
	disk := t.TempDir()
	h, err := host.Start(forker(t), host.Config{Name: "a", Binds: map[string]string{"/var/lib/libvirt": disk}, Temporary: []string{"/run"}, Cgroup: "husk-test-kill/a"})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "trap '' TERM INT; echo x > /var/lib/libvirt/kept; echo x > /run/lost; (setsid sleep 1000 &); echo started; wait; sleep 1000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Fork(cmd); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "started\n" {
		t.Fatalf("it printed %q", line)
	}
	if err := h.Freeze(); err != nil { // also a host that hangs can lose its power
		t.Fatal(err)
	}
	ids, err := h.Processes()
	if err != nil || len(ids) < 3 {
		t.Fatalf("processes %v, %v", ids, err)
	}
	if err := h.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the program ended by itself")
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if err := unix.Kill(id, 0); err == nil {
			t.Errorf("process %d still exists", id)
		}
	}
	if _, err := os.Stat(filepath.Join(disk, "kept")); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/husk-test-kill/a"); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
	if err := host.RemoveGroups("husk-test-kill"); err != nil {
		t.Error(err)
	}
}

func TestAFrozenHostStandsStill(t *testing.T) {
	h := start(t, "a", nil)
	cmd := exec.Command("sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > /run/count.new; mv /run/count.new /run/count; done")
	if err := h.Fork(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	count := func() string {
		raw, _ := os.ReadFile(h.Path("/run/count"))
		return string(raw)
	}
	eventually(t, func() error {
		if count() == "" {
			return fmt.Errorf("it has not started")
		}
		return nil
	})
	if err := h.Freeze(); err != nil {
		t.Fatal(err)
	}
	before := count()
	time.Sleep(50 * time.Millisecond)
	if after := count(); after != before {
		t.Errorf("a frozen host counted from %q to %q", before, after)
	}
	if err := h.Thaw(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if count() == before {
			return fmt.Errorf("it still stands at %q", before)
		}
		return nil
	})
}

func TestAHostThatCannotStartSaysWhy(t *testing.T) {
	_, err := host.Start(forker(t), host.Config{Name: "a", Binds: map[string]string{"/var/lib/libvirt": "/does/not/exist"}, Cgroup: "husk-test-bad/a"})
	if err == nil || !strings.Contains(err.Error(), "mount exist on /var/lib/libvirt") {
		t.Errorf("got %v", err)
	}
	if err := host.RemoveGroups("husk-test-bad"); err != nil {
		t.Error(err)
	}
}

func eventually(t *testing.T, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatal(err)
}
