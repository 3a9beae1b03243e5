// SPDX-License-Identifier: Apache-2.0

// Package seccomp has the system call filter of containers: Docker's default profile
// (github.com/moby/profiles), for the capabilities that containers have here. Command gen compiles
// it. Programs for 32-bit x86 or x32 are refused, as the filter knows only the numbers of amd64.
package seccomp

import "golang.org/x/sys/unix"

// Capabilities are those of root in a container: Docker's default set (moby/moby,
// daemon/pkg/oci/caps/defaults.go) without CAP_MKNOD. Docker refuses devices by cgroup. Here, a
// device node for a volume's disk would bypass the file system that is mounted from it.
var Capabilities = map[uintptr]string{
	unix.CAP_AUDIT_WRITE: "CAP_AUDIT_WRITE", unix.CAP_CHOWN: "CAP_CHOWN", unix.CAP_DAC_OVERRIDE: "CAP_DAC_OVERRIDE",
	unix.CAP_FOWNER: "CAP_FOWNER", unix.CAP_FSETID: "CAP_FSETID", unix.CAP_KILL: "CAP_KILL",
	unix.CAP_NET_BIND_SERVICE: "CAP_NET_BIND_SERVICE", unix.CAP_NET_RAW: "CAP_NET_RAW", unix.CAP_SETFCAP: "CAP_SETFCAP",
	unix.CAP_SETGID: "CAP_SETGID", unix.CAP_SETPCAP: "CAP_SETPCAP", unix.CAP_SETUID: "CAP_SETUID",
	unix.CAP_SYS_CHROOT: "CAP_SYS_CHROOT",
}
