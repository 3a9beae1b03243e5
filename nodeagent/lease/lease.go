// SPDX-License-Identifier: Apache-2.0

// Package lease ends the machines that write volumes when the node's lease runs out. From then on, the server can start them on another node.
//
// Two processes do it independently: the agent, and a watchdog of its own (Watch), which the agent starts and which survives it. Both read the
// lease from a file, and look at the processes of the machines in /proc: libvirt can hang together with a machine. The server does not rely on
// it: it fences the node's Ceph clients first (docs/decisions/0006). But a machine that was ended in time has not shown its clients anything
// that is lost later.
package lease

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"husk/nodeagent/process"
)

// Lease is the lease of a node: until when the server counts it as alive.
type Lease struct {
	mu   sync.Mutex
	file *os.File
	boot string
	end  time.Duration // on the clock of Now; 0: none

	since     time.Duration // when it was granted, after there was none
	confirmed time.Duration // when the request was sent that the newest desired state responds to
	regained  chan struct{}
}

// Now returns the time since the machine's boot. Unlike Go's monotonic clock, it continues while the machine is suspended (CLOCK_BOOTTIME).
func Now() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // every kernel that we support has this clock
	}
	return time.Duration(t.Nano())
}

func path(stateDir string) string { return filepath.Join(stateDir, "lease") }

// Open opens the lease in the agent's state directory. A lease that a previous agent has got is still valid.
func Open(stateDir string) (*Lease, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path(stateDir), os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator sets the directory
	if err != nil {
		return nil, fmt.Errorf("open the lease: %w", err)
	}
	l := &Lease{file: f, boot: boot, since: 1, regained: make(chan struct{})}
	if end, err := read(stateDir, boot); err == nil {
		l.end = end
		return l, nil
	}
	return l, l.Extend(0, 0) // there was none
}

// bootID returns a name of this boot of the machine. Times of Now are comparable only within one.
func bootID() (string, error) {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(raw)), err
}

// read returns the end of the lease that the file holds. It returns 0 if that is of an earlier boot.
func read(stateDir, boot string) (time.Duration, error) {
	raw, err := os.ReadFile(path(stateDir)) //nolint:gosec // the operator sets the directory
	if err != nil {
		return 0, err
	}
	var at string
	var end int64
	if _, err := fmt.Fscanf(bytes.NewReader(raw), "%s %d", &at, &end); err != nil {
		return 0, fmt.Errorf("%s is not a lease: %w", path(stateDir), err)
	}
	if at != boot {
		return 0, nil
	}
	return time.Duration(end), nil
}

// Extend extends the lease. sent is when the request was sent that the server has accepted: the server counts from later. The line in the file
// always has the same length and is written in place, so a full disk does not prevent it, and a reader sees the old or the new one.
func (l *Lease) Extend(sent, lease time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := sent + lease
	if _, err := l.file.WriteAt(fmt.Appendf(nil, "%s %020d\n", l.boot, end), 0); err != nil {
		return fmt.Errorf("store the lease: %w", err)
	}
	if l.end < Now() && end > Now() {
		l.since = Now() // not when it was sent: a desired state that was requested after that can be older than the lease
		close(l.regained)
		l.regained = make(chan struct{})
	}
	l.end = end
	return nil
}

// Left returns how long the lease is still valid, and 0 if it is not.
func (l *Lease) Left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(0, l.end-Now())
}

// Regained returns a channel that is closed when the lease is granted again after it had run out, or for the first time.
func (l *Lease) Regained() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.regained
}

// Confirm notes that the server has sent the desired state, in response to a request that was sent at this time. It returns true if the node is allowed to
// start machines that write volumes from now on, and was not before.
func (l *Lease) Confirm(sent time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.confirmed < l.since && sent >= l.since
	l.confirmed = max(l.confirmed, sent)
	return first
}

// MayWrite reports whether a machine that writes volumes may start. The lease alone does not permit it: the desired state can be from before the
// lease ran out, and the pod can be elsewhere since.
func (l *Lease) MayWrite() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end > Now() && l.confirmed >= l.since
}

// Close closes the file.
func (l *Lease) Close() error { return l.file.Close() }

// EndWriters kills the machines of the agent with this state directory that write volumes, and returns how many there were.
func EndWriters(stateDir string) (int, error) { return process.Kill(stateDir, process.Writer) }
