// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// containerSpaces are the namespaces that each container has of its own.
const containerSpaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// inside runs f on a thread that has entered the container. The thread's root is the container's,
// so no path of the tenant leads out of it, and f's child processes start there. The thread ends
// afterwards. f must not start goroutines that use files.
func (k *child) inside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked, so the thread that has entered ends with its goroutine.
		runtime.LockOSThread()
		done <- func() error {
			// Threads share root and working directory until they unshare them.
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("enter the container: %w", err)
			}
			if err := k.enter(); err != nil {
				return fmt.Errorf("enter the container: %w", err)
			}
			return f()
		}()
	}()
	return <-done
}

func (k *child) enter() error {
	k.entry.RLock()
	defer k.entry.RUnlock()
	if k.pidFD < 0 {
		return unix.ESRCH
	}
	return unix.Setns(k.pidFD, containerSpaces)
}
