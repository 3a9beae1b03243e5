// SPDX-License-Identifier: Apache-2.0

// Package process finds the QEMU processes of an agent's machines in /proc, and kills them. It does not need libvirt, which may hang together
// with a machine.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// Machine says which processes are meant, by their command lines.
type Machine func(cmdline []byte) bool

// Writer matches machines that have a volume (husk.Volume.RBDName), as libvirt describes disks to QEMU.
func Writer(cmdline []byte) bool { return bytes.Contains(cmdline, []byte(`"image":"vol-`)) }

// Of matches the machine of a pod.
func Of(pod uuid.UUID) Machine {
	return func(cmdline []byte) bool { return bytes.Contains(cmdline, []byte("\x00-uuid\x00"+pod.String()+"\x00")) }
}

// Kill kills the machines that match, of the agent that boots them from this directory, and returns how many there were. It works also if they are
// suspended.
func Kill(bootDir string, match Machine) (int, error) {
	return each(bootDir, match, kill)
}

// Count returns how many machines the agent has that boots them from this directory.
func Count(bootDir string) (int, error) {
	return each(bootDir, func([]byte) bool { return true }, func(_ int, is func() (bool, error)) (bool, error) { return is() })
}

func each(bootDir string, match Machine, do func(pid int, is func() (bool, error)) (bool, error)) (int, error) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	ours := []byte("\x00-kernel\x00" + filepath.Clean(bootDir) + "/")
	count := 0
	var failures []error
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue // not a process
		}
		found, err := do(pid, func() (bool, error) {
			cmdline, err := os.ReadFile(filepath.Join("/proc", d.Name(), "cmdline"))
			return bytes.Contains(cmdline, ours) && match(cmdline), err
		})
		if found {
			count++
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			failures = append(failures, fmt.Errorf("process %d: %w", pid, err))
		}
	}
	return count, errors.Join(failures...)
}

// kill kills a process if it is meant. It checks this again when it holds the process, because its number may have been reused in between.
func kill(pid int, is func() (bool, error)) (found bool, _ error) {
	if found, err := is(); err != nil || !found {
		return false, err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.EINVAL) { // it has just ended, or a thread has its number (kernel/pid.c, pidfd_create)
		err = unix.ESRCH
	}
	if err != nil {
		return false, err
	}
	if found, err = is(); err == nil && found {
		err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
	return found, errors.Join(err, unix.Close(fd))
}
