// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"bytes"
	"encoding/json"
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

// A record is a file that identifies one running child. If this process cannot end the child, the
// next start does. A pid may have been reused, but not together with the start time and the boot.
type record struct {
	Name   string         `json:"name"`
	PID    int            `json:"pid"`
	Start  uint64         `json:"start"` // clock ticks after boot, /proc/PID/stat field 22
	Boot   string         `json:"boot"`
	Signal syscall.Signal `json:"signal"` // stops this daemon cleanly
}

func newRecord(name string, pid int, sig syscall.Signal) (record, error) {
	start, err := startTime(pid)
	if err != nil {
		return record{}, err
	}
	boot, err := bootID()
	return record{Name: name, PID: pid, Start: start, Boot: boot, Signal: sig}, err
}

func recordPath(stateDir, name string) string {
	return filepath.Join(stateDir, "run", name+".pid.json")
}

func (r record) write(stateDir string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return writeFileAtomic(recordPath(stateDir, r.Name), data)
}

// endLeftovers ends every recorded child that is still running. It deletes a record when its child
// has ended, and returns the names of the children that it ended.
func endLeftovers(stateDir string) ([]string, error) {
	paths, err := filepath.Glob(recordPath(stateDir, "*"))
	if err != nil {
		return nil, err
	}
	var ended []string
	var errs []error
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		var r record
		// Ignore an invalid record. Only something else can have written it, because this package
		// writes records atomically.
		if json.Unmarshal(data, &r) == nil {
			was, err := r.end(10 * time.Second)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if was {
				ended = append(ended, r.Name)
			}
		}
		errs = append(errs, os.Remove(path))
	}
	return ended, errors.Join(errs...)
}

// end stops the recorded process, first with its signal, and reports whether it was running.
func (r record) end(grace time.Duration) (bool, error) {
	if boot, err := bootID(); err != nil || boot != r.Boot {
		return false, err
	}
	// The pidfd is opened before the identity is checked, so the signals below can reach no other
	// process even if the pid is reused in between.
	fd, err := unix.PidfdOpen(r.PID, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) { // EINVAL: it has just ended, or a thread has its number (kernel/pid.c, pidfd_create)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("leftover %s (pid %d): %w", r.Name, r.PID, err)
	}
	defer unix.Close(fd)
	start, err := startTime(r.PID)
	if errors.Is(err, os.ErrNotExist) || err == nil && start != r.Start {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, sig := range []syscall.Signal{r.Signal, unix.SIGKILL} {
		if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return true, fmt.Errorf("leftover %s (pid %d): %w", r.Name, r.PID, err)
		}
		if exited(fd, grace) {
			return true, nil
		}
	}
	return true, fmt.Errorf("leftover %s (pid %d) does not end; end it by hand", r.Name, r.PID)
}

// exited waits until the process of a pidfd has ended, for at most the given time, and reports whether it has.
func exited(fd int, within time.Duration) bool {
	deadline := time.Now().Add(within)
	for {
		left := max(time.Until(deadline), 0)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		if err == nil || !errors.Is(err, unix.EINTR) || left == 0 {
			return n > 0
		}
	}
}

// startTime returns os.ErrNotExist for a process that has ended.
func startTime(pid int) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, unix.ESRCH) {
		err = os.ErrNotExist
	}
	if err != nil {
		return 0, err
	}
	// The command name, in parentheses, may contain anything, so count after it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat: unexpected form", pid)
	}
	// Where PID 1 does not reap, as in many containers, ended processes stay listed.
	if fields[0] == "Z" || fields[0] == "X" {
		return 0, os.ErrNotExist
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}
