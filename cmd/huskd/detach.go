// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"husk/dev"
	"husk/nodeagent"
)

// upLine begins the line that says that everything is up.
const upLine = "husk is up"

// detachDev starts this command again in the background, shows its progress, and returns when
// everything is up or the command has failed. If another process runs already, it waits for that one.
func detachDev(ctx context.Context, f devFlags) error {
	if up, err := awaitHolder(ctx, f.stateDir); up || err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	name := filepath.Join(filepath.Dir(f.envFile), "dev.log")
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // a build directory
		return err
	}
	log, err := os.Create(name) //nolint:gosec // next to the file that the caller named
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the child has its own descriptor
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(a string) bool { return strings.HasPrefix(a, "--detach") })
	cmd := exec.Command(self, args...) //nolint:gosec,noctx // this program; it continues after this call
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	reader, err := os.Open(name) //nolint:gosec // as above
	if err != nil {
		return err
	}
	defer reader.Close() //nolint:errcheck // only opened for reading
	up, err := follow(ctx, bufio.NewReader(reader), ended)
	if err == nil && !up {
		err = fmt.Errorf("huskd dev ended before it was up; its output is in %s", name)
	}
	return err
}

// awaitHolder waits while another process holds the state directory, until everything is up there or
// the process has released the directory.
func awaitHolder(ctx context.Context, stateDir string) (up bool, err error) {
	for seen := 0; ; {
		pid, up := dev.Holder(stateDir)
		switch {
		case up:
			fmt.Fprintf(os.Stderr, "%s already, with process id %d\n", upLine, pid)
			return true, nil
		case pid == 0:
			return false, nil
		case pid != seen:
			fmt.Fprintf(os.Stderr, "process %d is starting or stopping husk; waiting for this process\n", pid)
			seen = pid
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// follow copies lines until the one that says that everything is up, or until the writer has ended.
func follow(ctx context.Context, r *bufio.Reader, ended <-chan error) (up bool, err error) {
	var last bool
	for {
		line, err := r.ReadString('\n')
		fmt.Fprint(os.Stderr, line)
		switch {
		case strings.HasPrefix(line, upLine):
			return true, nil
		case err == nil:
			continue
		case !errors.Is(err, io.EOF):
			return false, err
		case last:
			return false, nil
		}
		select {
		case <-ended: //nolint:errcheck // its output says how it ended
			last = true // its last output must still be read
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stopRunningDev asks the process that holds the state directory to stop, and waits until it has
// stopped.
func stopRunningDev(ctx context.Context, f devFlags) error {
	pid, _ := dev.Holder(f.stateDir)
	if pid == 0 {
		fmt.Fprintln(os.Stderr, "nothing is running in", f.stateDir)
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop process %d: %w", pid, err)
	}
	if err := awaitRelease(ctx, f.stateDir, pid, stopGrace+10*time.Second); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "stopped")
	return nil
}

// awaitRelease waits until the process does not hold the state directory any more. The lock is
// released when the process ends, but the process may stay in /proc until its parent reaps it.
func awaitRelease(ctx context.Context, stateDir string, pid int, limit time.Duration) error {
	expired := time.After(limit)
	for {
		if now, _ := dev.Holder(stateDir); now != pid {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-expired:
			return fmt.Errorf("process %[1]d did not stop within %[2]s; end it with \"kill -9 %[1]d\"; the next start cleans up after it", pid, limit)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// cleanDev stops the running process and removes all data. It also ends processes and virtual
// machines that a killed run left behind.
func cleanDev(ctx context.Context, f devFlags) error {
	if err := stopRunningDev(ctx, f); err != nil {
		return err
	}
	if _, err := os.Stat(f.stateDir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	// What the killed run left of Open vSwitch is removed by an Open vSwitch that stops in order.
	parts := dev.Libvirt
	if _, err := os.Stat(filepath.Join(f.stateDir, "ovs")); err == nil {
		parts |= dev.OVS
	}
	stack, err := dev.Start(ctx, dev.Config{StateDir: f.stateDir, Parts: parts, OVNDir: f.ovn})
	if err != nil {
		return err
	}
	err = nodeagent.Purge(ctx, agentDir(stack), stack.LibvirtURI())
	return errors.Join(err, stack.Stop(ctx), dev.Clean(f.stateDir))
}
