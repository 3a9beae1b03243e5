// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// A process with the arguments of a machine is this test binary, which then only waits.
func TestMain(m *testing.M) {
	if os.Getenv("HUSK_TEST_MACHINE") != "" {
		time.Sleep(time.Hour)
	}
	os.Exit(m.Run())
}

func open(t *testing.T, dir string) *Lease {
	t.Helper()
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func extend(t *testing.T, l *Lease, sent, lease time.Duration) {
	t.Helper()
	if err := l.Extend(sent, lease); err != nil {
		t.Fatal(err)
	}
}

func TestALeaseCountsFromSending(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	if left := l.Left(); left != 0 {
		t.Errorf("without a lease, %s are left", left)
	}
	sent := Now()
	extend(t, l, sent-10*time.Second, time.Minute)
	if left := l.Left(); left > 50*time.Second || left < 45*time.Second {
		t.Errorf("ten seconds after the request was sent, %s of a minute are left", left)
	}
	if again := open(t, dir).Left(); again < 45*time.Second {
		t.Errorf("the next agent has %s left", again)
	}
	if err := os.WriteFile(path(dir), []byte("00000000-another-boot 99999999999999999999\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if left := open(t, dir).Left(); left != 0 {
		t.Errorf("after another boot of the machine, %s are left", left)
	}
}

// After a lease has run out, a volume may have another writer. Only a desired state that is newer than the next lease says that it has none.
func TestAStaleDesiredStateStartsNoWriter(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	may := func(what string, want bool) {
		t.Helper()
		if got := l.MayWrite(); got != want {
			t.Errorf("%s, MayWrite returns %t", what, got)
		}
	}
	may("without a lease", false)
	granted := l.Regained()
	first := Now()
	extend(t, l, first, 200*time.Millisecond)
	select {
	case <-granted:
	default:
		t.Error("nobody hears of the first lease")
	}
	may("before the desired state was received", false)
	if !l.Confirm(Now()) {
		t.Error("the first desired state changes nothing")
	}
	may("then", true)
	if l.Confirm(Now()) {
		t.Error("the second one is as important as the first")
	}
	extend(t, l, Now(), 200*time.Millisecond)
	may("after another heartbeat", true)
	asked := Now()
	time.Sleep(250 * time.Millisecond)
	may("when the lease has run out", false)
	extend(t, l, Now(), time.Minute)
	may("with a new lease", false)
	if l.Confirm(asked) { // the response was on its way while the node had no lease
		t.Error("an old desired state counts")
	}
	may("with an old desired state", false)
	l.Confirm(Now())
	may("with a new one", true)
}

// machine starts a process that looks like a machine.
func machine(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0]) //nolint:noctx // it is killed below
	cmd.Args = append([]string{"qemu-system-x86_64"}, args...)
	cmd.Env = append(os.Environ(), "HUSK_TEST_MACHINE=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func runs(cmd *exec.Cmd) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "stat"))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

func TestTheWatchdogEndsWritersWithoutALease(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	const volume, image = `{"driver":"rbd","image":"vol-1"}`, `{"driver":"rbd","image":"img-1"}`
	boot := func(dir string) string { return filepath.Join(dir, "boot/vmlinuz") }
	writer, reader := machine(t, "-kernel", boot(dir), "-blockdev", volume), machine(t, "-kernel", boot(dir), "-blockdev", image)
	foreign := machine(t, "-kernel", boot(other), "-blockdev", volume)
	l := open(t, dir)
	extend(t, l, Now(), 2*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 2)
	watch := func() { done <- Watch(ctx, dir, slog.New(slog.DiscardHandler)) }
	go watch()
	time.Sleep(time.Second)
	go watch() // a second one returns at once
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the second watchdog: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("two watchdogs run")
	}
	if !runs(writer) {
		t.Error("the writer was ended while the node had its lease")
	}
	for end := time.Now().Add(20 * time.Second); runs(writer); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the writer still runs without a lease")
		}
	}
	if !runs(reader) || !runs(foreign) {
		t.Errorf("a machine without volumes runs: %t; one of another agent: %t", runs(reader), runs(foreign))
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the watchdog: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the watchdog runs although the agent's state is gone")
	}
}
