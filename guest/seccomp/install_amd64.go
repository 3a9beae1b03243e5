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

//go:generate go run ./gen filter_amd64.bpf

//go:embed filter_amd64.bpf
var filter []byte

// instructionBytes is the size of struct sock_filter.
const instructionBytes = 8

// Install applies the filter to the calling thread and to what it executes. It needs CAP_SYS_ADMIN,
// because it does not set no_new_privs.
func Install() error {
	program := make([]unix.SockFilter, len(filter)/instructionBytes)
	for i := range program {
		at := filter[i*instructionBytes:]
		program[i] = unix.SockFilter{Code: binary.LittleEndian.Uint16(at), Jt: at[2], Jf: at[3], K: binary.LittleEndian.Uint32(at[4:])}
	}
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&p))) //nolint:gosec // the kernel reads p during the call
	if errno != 0 {
		return fmt.Errorf("system call filter: %w", errno)
	}
	return nil
}
