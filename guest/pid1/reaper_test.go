// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A number that belonged to a child is not signalled after the child was reaped.
func TestOnlyChildrenThatWereNotReapedAreSignalled(t *testing.T) {
	t.Parallel()
	r := &reaper{wait: map[int]chan<- unix.WaitStatus{}}
	other := exec.Command("sleep", "1000") // it has the number of a child that was reaped
	other.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	pid := other.Process.Pid
	r.signal(pid, unix.SIGKILL)
	r.signal(-pid, unix.SIGKILL)
	r.wait[pid] = make(chan unix.WaitStatus, 1)
	r.signal(-pid, unix.SIGTERM)
	if err := other.Wait(); err == nil || other.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM { // and not by SIGKILL
		t.Errorf("the child ended with %v", err)
	}
}
