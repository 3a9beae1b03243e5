// SPDX-License-Identifier: Apache-2.0

// Package seccomp has the system call filter of containers: Docker's default profile
// (github.com/moby/profiles), for the capabilities that containers have here. Command gen compiles
// it. Programs for 32-bit x86 or x32 are refused, as the filter knows only the numbers of amd64.
package seccomp

import "golang.org/x/sys/unix"

// Capabilities are those of root in a container: Docker's default set (moby/moby,
// daemon/pkg/oci/caps/defaults.go) without CAP_MKNOD. Docker refuses devices by cgroup. Here, a
// device node for a volume's disk would bypass the file system that is mounted from it.
const Capabilities uint64 = 1<<unix.CAP_AUDIT_WRITE | 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER |
	1<<unix.CAP_FSETID | 1<<unix.CAP_KILL | 1<<unix.CAP_NET_BIND_SERVICE | 1<<unix.CAP_NET_RAW | 1<<unix.CAP_SETFCAP |
	1<<unix.CAP_SETGID | 1<<unix.CAP_SETPCAP | 1<<unix.CAP_SETUID | 1<<unix.CAP_SYS_CHROOT
