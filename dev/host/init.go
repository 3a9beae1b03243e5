// SPDX-License-Identifier: Apache-2.0

package host

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// initVariable makes a process become process 1 of a host.
const initVariable = "HUSK_DEV_HOST_INIT"

type initRequest struct {
	Config
	Folders []string // of the host's cgroups
}

// BeInit sets a host up and then waits indefinitely, if Start started this process for that. Otherwise, it does nothing. A
// program that starts hosts calls it first.
func BeInit() {
	text, ok := os.LookupEnv(initVariable)
	if !ok {
		return
	}
	runtime.LockOSThread() // unshare changes only this thread, and exec keeps what the thread has
	const reportFile = 3
	report := os.NewFile(reportFile, "report")
	syscall.CloseOnExec(reportFile)
	err := becomeInit(text)
	_, _ = fmt.Fprintln(report, err) // without a reader nobody needs it
	os.Exit(1)
}

// becomeInit returns only with an error.
func becomeInit(text string) error {
	var r initRequest
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := groupsIn(r.Folders).isolate(); err != nil {
		return err
	}
	if err := mounts(r.Config); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(r.Name)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("set loopback up: %w", err)
	}
	// QEMU detaches, so it becomes a child of process 1. If process 1 ignores the end of its children,
	// the kernel reaps them; libvirt believes that a process that nobody has reaped still runs. The
	// setting survives exec. From here on, a host costs less than a MiB.
	signal.Ignore(syscall.SIGCHLD)
	return fmt.Errorf("exec sleep: %w", syscall.Exec("/bin/sleep", []string{"host:" + r.Name, "infinity"}, nil))
}

func mounts(cfg Config) error {
	for _, dir := range cfg.Temporary {
		if err := mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return err
		}
	}
	for dir, source := range cfg.Binds {
		if err := mount(source, dir, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return mount("proc", "/proc", "proc", 0, "")
}

func mount(source, dir, kind string, flags uintptr, options string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a directory of the system
		return err
	}
	if err := unix.Mount(source, dir, kind, flags, options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", filepath.Base(source), dir, err)
	}
	return nil
}
