// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"fmt"
	"syscall"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"husk/guest/seccomp"
)

// confine takes from the process what a container does not get. The filter comes first, because
// installing it needs CAP_SYS_ADMIN. The bounding set determines what root gets at exec. Set-user-ID
// programs work as usual: as with Docker and Kubernetes, no_new_privs is not set, because images need
// sudo, su and ping.
func confine() error {
	if err := seccomp.Install(); err != nil {
		return err
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if _, kept := seccomp.Capabilities[c]; kept {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL {
			return fmt.Errorf("capability %d: %w", c, err)
		}
	}
	return nil
}

// becomeUser switches to the container's identity permanently. Other users than root get no
// capabilities at exec.
func becomeUser(who *user.ExecUser) error {
	// As with a terminal, the container's user owns its output and its input: programs reopen them
	// as /dev/stdout and /dev/stdin.
	own := []int{1, 2}
	var in unix.Stat_t
	if err := unix.Fstat(0, &in); err == nil && in.Mode&unix.S_IFMT == unix.S_IFIFO { // not /dev/null
		own = append(own, 0)
	}
	for _, fd := range own {
		if err := unix.Fchown(fd, who.Uid, who.Gid); err != nil {
			return fmt.Errorf("standard streams: %w", err)
		}
	}
	if err := syscall.Setgroups(who.Sgids); err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	if err := syscall.Setgid(who.Gid); err != nil {
		return fmt.Errorf("group %d: %w", who.Gid, err)
	}
	if err := syscall.Setuid(who.Uid); err != nil {
		return fmt.Errorf("user %d: %w", who.Uid, err)
	}
	return nil
}
