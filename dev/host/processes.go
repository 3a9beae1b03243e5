// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Processes returns the process IDs of everything that runs in the host, as this process sees them.
func (h *Host) Processes() ([]int, error) {
	links, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		return nil, err
	}
	var ids []int
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != h.pids {
			continue // of another host, or it has ended
		}
		id, err := strconv.Atoi(strings.Split(link, "/")[2])
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// freezeTime limits how long a process may take to stop. It stops when it next enters or leaves the kernel.
const freezeTime = 10 * time.Second

// Freeze stops every process of the host with SIGSTOP, until Thaw. The host's network still answers:
// that is the kernel's, as on a machine whose programs hang.
func (h *Host) Freeze() error {
	// A process that is not stopped yet may start others meanwhile.
	for end := time.Now().Add(freezeTime); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		running, err := h.signal(syscall.SIGSTOP)
		if err != nil || running == 0 {
			return err
		}
	}
	return fmt.Errorf("host %s: a process did not stop within %s", h.name, freezeTime)
}

// Thaw continues the processes that Freeze stopped.
func (h *Host) Thaw() error {
	_, err := h.signal(syscall.SIGCONT)
	return err
}

// signal sends a signal to every process of the host, and returns how many of them were running.
func (h *Host) signal(sig syscall.Signal) (running int, err error) {
	ids, err := h.Processes()
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if state(id) != 'T' {
			running++
		}
		if e := unix.Kill(id, sig); e != nil && !errors.Is(e, unix.ESRCH) {
			err = errors.Join(err, fmt.Errorf("host %s: signal %s to process %d: %w", h.name, sig, id, e))
		}
	}
	return running, err
}

// state returns the letter of a process's state in /proc, or T for one that no longer runs.
func state(id int) byte {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	if err != nil {
		return 'T'
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) == 0 || fields[0] == "Z" || fields[0] == "X" {
		return 'T'
	}
	return fields[0][0]
}
