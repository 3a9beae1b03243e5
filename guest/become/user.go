// SPDX-License-Identifier: Apache-2.0

//go:build linux

package become

import (
	"fmt"
	"slices"
	"syscall"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"husk/guest"
	"husk/guest/seccomp"
)

// confine takes from the process what a container does not get. The filter comes first, because
// installing it needs CAP_SYS_ADMIN. The bounding set determines what root gets at exec. Without
// no_new_privs, set-user-ID programs such as sudo, su and ping work as usual.
func confine(c *guest.Container) error {
	kept, err := capabilitiesOf(c)
	if err != nil {
		return err
	}
	if err := seccomp.Install(kept); err != nil {
		return err
	}
	for capability := range uintptr(64) {
		if kept&(1<<capability) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil && err != unix.EINVAL {
			return fmt.Errorf("capability %d: %w", capability, err)
		}
	}
	if c.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("no_new_privs: %w", err)
		}
	}
	return nil
}

// capabilitiesOf returns the capabilities of root in the container. As in Docker, those that are
// added by name stay if all are dropped, and those that are dropped by name stay dropped if all are
// added.
func capabilitiesOf(c *guest.Container) (uint64, error) {
	add, err := setOf(c.CapabilitiesAdd)
	if err != nil {
		return 0, err
	}
	drop, err := setOf(c.CapabilitiesDrop)
	if err != nil {
		return 0, err
	}
	if slices.Contains(c.CapabilitiesDrop, guest.AllCapabilities) {
		return add, nil
	}
	return (seccomp.Capabilities | add) &^ drop, nil
}

func setOf(names []string) (set uint64, err error) {
	for _, name := range names {
		one, err := guest.ParseCapability(name)
		if err != nil {
			return 0, err
		}
		set |= one
	}
	return set, nil
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
