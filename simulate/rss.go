// SPDX-License-Identifier: Apache-2.0

package simulate

import "syscall"

// maxRSS returns the maximum memory that this process has used so far, in MiB.
func maxRSS() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Maxrss) / 1024 // Linux counts KiB
}
