// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"slices"
)

// AllCapabilities stands for every capability.
const AllCapabilities = "ALL"

// capabilities are the names of Linux's capabilities without CAP_, by their numbers (linux/capability.h).
var capabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
	"NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
	"SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
	"AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
	"PERFMON", "BPF", "CHECKPOINT_RESTORE",
}

// ParseCapability returns the set with the capability of this name, or with all.
func ParseCapability(name string) (set uint64, err error) {
	if name == AllCapabilities {
		return 1<<len(capabilities) - 1, nil
	}
	if i := slices.Index(capabilities, name); i >= 0 {
		return 1 << i, nil
	}
	return 0, fmt.Errorf("capability %q: unknown name", clip(name, maxName))
}

// CapabilityNames returns the names without CAP_, by their numbers.
func CapabilityNames() []string { return slices.Clone(capabilities) }
