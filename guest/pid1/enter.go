//go:build linux

package pid1

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// containerSpaces are the namespaces that a container has for itself.
const containerSpaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP

// inside runs f on a thread that has entered the container: its root is the
// container's, so no path of the tenant leads out of it, and what f forks is
// born there. The thread is thrown away afterwards. f must not start
// goroutines that touch files.
func (k *child) inside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked: a thread that has entered ends with its goroutine.
		runtime.LockOSThread()
		done <- func() error {
			// Threads share root and working directory until they say otherwise.
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
