// SPDX-License-Identifier: Apache-2.0

// Package seccomp has the system call filter of containers: Docker's default profile
// (github.com/moby/profiles), for the capabilities that containers have here. Command gen compiles
// it. Programs for 32-bit x86 or x32 are refused, as the filter knows only the numbers of amd64.
package seccomp

// Capabilities are those of root in a container: Docker's default set (moby/moby,
// oci/caps/defaults.go) without CAP_MKNOD. Docker refuses devices by cgroup. Here, a device node for
// a volume's disk would bypass the file system that is mounted from it.
var Capabilities = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
	"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}
