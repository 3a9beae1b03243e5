// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"fmt"
	"slices"
	"syscall"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

// capabilities are those of root in a container: Docker's default set without CAP_MKNOD, because a
// device node for a volume's disk would bypass the file system that is mounted from it. Set-user-ID
// programs work as usual (no_new_privs is not set), because the VM is the isolation boundary of the
// tenant.
var capabilities = []uintptr{
	unix.CAP_AUDIT_WRITE, unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL,
	unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_RAW, unix.CAP_SETFCAP, unix.CAP_SETGID, unix.CAP_SETPCAP,
	unix.CAP_SETUID, unix.CAP_SYS_CHROOT,
}

// becomeUser switches to the container's identity permanently. The bounding set determines what
// root gets at exec; other users get nothing.
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
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if slices.Contains(capabilities, c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL {
			return fmt.Errorf("capability %d: %w", c, err)
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
