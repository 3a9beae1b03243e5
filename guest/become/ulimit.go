// SPDX-License-Identifier: Apache-2.0

//go:build linux

package become

import (
	"fmt"

	"golang.org/x/sys/unix"

	"husk/guest"
)

// setUlimits limits this process and those that it starts, after limitFiles.
func setUlimits(all []guest.Ulimit) error {
	for _, u := range all {
		resource, err := u.Resource()
		if err != nil {
			return err
		}
		limit := unix.Rlimit{Cur: uint64(u.Soft), Max: uint64(u.Hard)} //nolint:gosec // -1 is unlimited
		if err := unix.Setrlimit(resource, &limit); err != nil {
			return &StartError{126, fmt.Sprintf("ulimit %s=%d:%d: %v", u.Name, u.Soft, u.Hard, err)}
		}
	}
	return nil
}
