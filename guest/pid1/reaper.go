// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// reaper waits for all child processes in PID 1: its own children, and the orphans that Linux
// reparents to PID 1. Nothing else may wait for them.
type reaper struct {
	mu   sync.Mutex
	wait map[int]chan<- unix.WaitStatus
}

func newReaper() *reaper {
	r := &reaper{wait: map[int]chan<- unix.WaitStatus{}}
	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	go func() {
		for range died {
			r.collect()
		}
	}()
	return r
}

func (r *reaper) collect() {
	for {
		if !r.collectOne() {
			return
		}
	}
}

func (r *reaper) collectOne() bool {
	r.mu.Lock() // so that signal sees either the process or that it was reaped
	defer r.mu.Unlock()
	var ws unix.WaitStatus
	pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
	if err == unix.EINTR {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	if ch := r.wait[pid]; ch != nil {
		ch <- ws // buffered
		delete(r.wait, pid)
	}
	return true
}

// signal sends a signal to a child, or with a negative number to its process group. It does nothing if the child was reaped: another
// process can have its number by now.
func (r *reaper) signal(pid int, sig unix.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wait[max(pid, -pid)] != nil {
		unix.Kill(pid, sig)
	}
}

// start forks a child and registers it before it can be reaped.
func (r *reaper) start(fork func() (int, error)) (int, <-chan unix.WaitStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := fork()
	if err != nil {
		return 0, nil, err
	}
	ch := make(chan unix.WaitStatus, 1)
	r.wait[pid] = ch
	return pid, ch, nil
}
