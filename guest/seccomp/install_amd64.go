// SPDX-License-Identifier: Apache-2.0

//go:build linux

package seccomp

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

//go:generate go run ./gen filter_amd64.bpf unlocked_amd64.go

//go:embed filter_amd64.bpf
var filter []byte

// instructionBytes is the size of struct sock_filter.
const instructionBytes = 8

// Install applies the filter to the calling thread and to what it executes. As in Docker's profile,
// capabilities allow more system calls. It needs CAP_SYS_ADMIN, because it does not set no_new_privs.
func Install(capabilities uint64) error {
	program := exceptions(capabilities)
	for at := filter; len(at) > 0; at = at[instructionBytes:] {
		program = append(program, unix.SockFilter{Code: binary.LittleEndian.Uint16(at), Jt: at[2], Jf: at[3], K: binary.LittleEndian.Uint32(at[4:])})
	}
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&p))) //nolint:gosec // the kernel reads p during the call
	if errno != 0 {
		return fmt.Errorf("system call filter: %w", errno)
	}
	return nil
}

// Offsets in struct seccomp_data.
const (
	numberAt       = 0
	architectureAt = 4
)

// exceptions returns the beginning of a filter, which allows the system calls of these capabilities.
func exceptions(capabilities uint64) []unix.SockFilter {
	var program []unix.SockFilter
	for capability, numbers := range unlocked {
		if capabilities&(1<<capability) == 0 {
			continue
		}
		for _, number := range numbers {
			program = append(program,
				unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: number},
				unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
		}
	}
	if program == nil {
		return nil
	}
	// For other architectures, the numbers mean something else.
	return append([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: architectureAt},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: unix.AUDIT_ARCH_X86_64},
		{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(len(program)) + 1},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: numberAt},
	}, program...)
}
