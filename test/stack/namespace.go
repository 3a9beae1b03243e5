// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"husk/test/images"
	"husk/test/pace"
)

// Each test binary runs in its own namespaces for network, mounts and processes. So it shares no
// port, bridge, firewall rule, libvirt or process with other programs on the machine. When it ends,
// for any reason, the kernel removes everything that it started.
//
//	Main outside ── clone ──▶ init (process 1 in the namespaces: mounts, loopback, reaps) ──▶ the tests

const roleVar = "HUSK_E2E_ROLE"

// Main runs the tests of a package: func TestMain(m *testing.M) { stack.Main(m) }.
func Main(m *testing.M) {
	var code int
	var err error
	switch os.Getenv(roleVar) {
	case "":
		code, err = outside()
	case "init":
		code, err = initRole()
	default:
		code, err = runTests(m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stack:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// Repository returns the root of the checkout. Tests start in the directory of their package.
func Repository() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err) // the working directory was removed
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// outside does the work that needs the machine's network, and then runs the tests in new
// namespaces.
func outside() (int, error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("needs root, for virtual machines and networks")
	}
	if err := build(); err != nil {
		return 1, err
	}
	cache, err := images.CacheDir()
	if err != nil {
		return 1, err
	}
	if _, err := images.Build(context.Background(), cache); err != nil {
		return 1, err
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) // ends when this process ends
	cmd.Env = append(os.Environ(), roleVar+"=init", fmt.Sprintf("%s=%.2f", pace.Variable, pace.Slowdown()))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC, Pdeathsig: syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	go func() {
		<-signals
		_ = cmd.Process.Kill() // it is process 1 of its namespace, so all processes in the namespace end with it
	}()
	return exitCode(cmd.Wait()), removeCgroups()
}

// build builds the programs and the initramfs if they are out of date. A lock lets only one test
// binary build at a time.
func build() error {
	dir := filepath.Join(Repository(), "build")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "tests.lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("wait for another build: %w", err)
	}
	cmd := exec.Command("make", "-s", "build") // without a time limit
	cmd.Dir = Repository()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make build: %w: %s", err, out)
	}
	return nil
}

func exitCode(err error) int {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return max(e.ExitCode(), 1)
	}
	if err != nil {
		return 1
	}
	return 0
}

// freshCgroup is a minimum age. A younger empty group may belong to a machine that another stack is
// starting.
const freshCgroup = 10 * time.Second

// removeCgroups removes the cgroups of machines and hosts that were killed together with their stack.
// The test binary has no cgroup namespace.
func removeCgroups() error {
	for _, pattern := range []string{"/sys/fs/cgroup/*/machine/*husk*", "/sys/fs/cgroup/machine/*husk*", "/sys/fs/cgroup/*/husk-dev-*", "/sys/fs/cgroup/husk-dev-*"} {
		groups, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, g := range groups {
			if info, err := os.Stat(g); err != nil || time.Since(info.ModTime()) < freshCgroup {
				continue
			}
			removeUnused(g)
		}
	}
	return nil
}

// removeUnused removes a group and those in it, unless one of them has processes: then it belongs to another stack.
func removeUnused(group string) {
	var inner []string
	used := false
	_ = filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error { // if a group cannot be read, try to remove it
		if err == nil && d.IsDir() {
			inner = append(inner, path)
			processes, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			used = used || len(processes) > 0
		}
		return nil
	})
	if used {
		return
	}
	for _, dir := range slices.Backward(inner) {
		_ = os.Remove(dir)
	}
}

// initRole is process 1 of the new namespaces.
func initRole() (int, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return 1, fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return 1, fmt.Errorf("mount /proc: %w", err)
	}
	for _, dir := range []string{"/run", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return 1, err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return 1, fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	if err := libvirtDirs(); err != nil {
		return 1, err
	}
	if err := loopbackUp(); err != nil {
		return 1, fmt.Errorf("switch on loopback: %w", err)
	}
	if err := os.Setenv(roleVar, "test"); err != nil {
		return 1, err
	}
	child, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return 1, err
	}
	// QEMU detaches, so it becomes a child of process 1. Until process 1 reaps an ended QEMU,
	// libvirt believes that it still runs.
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 1, fmt.Errorf("wait for children: %w", err)
		case pid == child.Pid && status.Exited():
			return status.ExitStatus(), nil
		case pid == child.Pid:
			return 1, fmt.Errorf("the tests were ended by %s", status.Signal())
		}
	}
}

// libvirtDirs makes the directories that Debian's package makes, with its owners and modes.
func libvirtDirs() error {
	qemu, err := user.Lookup("libvirt-qemu")
	if err != nil {
		return err
	}
	uid, err1 := strconv.Atoi(qemu.Uid)
	gid, err2 := strconv.Atoi(qemu.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for _, dir := range []string{"/var/lib/libvirt/qemu", "/var/lib/libvirt/qemu/channel", "/var/lib/libvirt/qemu/channel/target"} {
		if err := errors.Join(os.Mkdir(dir, 0o750), os.Chown(dir, uid, gid)); err != nil {
			return err
		}
	}
	return nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}
