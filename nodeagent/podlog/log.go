// SPDX-License-Identifier: Apache-2.0

// Package podlog keeps the output of containers on their node, byte by byte, so that it can be read
// while they run and after their machine is gone.
//
//	guest ── Append ──▶ CONTAINER.log, CONTAINER.log.1 ── Stream ──▶ lines ──▶ Writer ──▶ client
//
// A record in the files is a piece of output with its position, which is how many bytes the
// container has written until then (record.go). So a gap between two records shows how many bytes
// are missing there. The guest, the agent or the rotation of the files has dropped them.
package podlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"husk/guest"
)

// Limits of what a pod's containers keep on the node's disk, in bytes.
const (
	// MaxFile is the largest size of a file. There are at most two per container, the current one
	// and the previous one. MaxPod limits those of all containers of a pod.
	MaxFile = 10 << 20
	MaxPod  = 64 << 20
)

// FileLimit is the largest size of a file of a pod with this many containers.
func FileLimit(containers int) int64 {
	return min(MaxFile, MaxPod/2/int64(max(1, containers)))
}

// Log is the output of one container.
type Log struct {
	path  string
	limit int64        // of one file
	live  atomic.Int32 // clients that get the output without the log

	mu      sync.Mutex
	file    *os.File
	size    int64
	boot    string // of the last record
	end     uint64 // position of its end
	ended   bool   // no further output will come
	changed chan struct{}
	done    chan struct{} // closed when the container's output was read to its end
	doneSet bool
}

// New returns the log of a container in a folder. Files of at most limit bytes keep it.
func New(dir, container string, limit int64) *Log {
	return &Log{path: filepath.Join(dir, container+".log"), limit: limit, changed: make(chan struct{}), done: make(chan struct{})}
}

// open prepares for appending. It removes a record that a crash has truncated, and reads the
// position from the last record.
func (l *Log) open() error {
	if l.file != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return err
	}
	if err := l.convert(); err != nil {
		return fmt.Errorf("convert the log of an earlier version: %w", err)
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	last, size, err := scan(f)
	if err == nil && size == 0 {
		var before *os.File
		if before, err = openIfThere(l.path + ".1"); before != nil {
			last, _, err = scan(before)
			err = errors.Join(err, before.Close())
		}
	}
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		_, err = f.Seek(size, io.SeekStart)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.boot, l.end, l.file, l.size = last.boot, last.end, f, size
	return nil
}

// scan returns the last complete record of a file, and where it ends. What follows it is useless.
func scan(f *os.File) (last record, size int64, _ error) {
	in := newReader(f)
	for {
		r, err := readRecord(in)
		if err != nil {
			if _, failed := errors.AsType[*fs.PathError](err); failed {
				return last, size, err
			}
			return last, size, nil
		}
		last, size = r, size+int64(r.size())
	}
}

// Bookmark returns the position of the stored output's end in this boot of the guest.
func (l *Log) Bookmark(boot string) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil {
		return 0, fmt.Errorf("open log %s: %w", l.path, err)
	}
	if l.boot != boot {
		return 0, nil
	}
	return l.end, nil
}

// Append stores a piece of output and returns how many bytes that took.
func (l *Log) Append(boot string, e guest.LogEntry) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil {
		return 0, err
	}
	r := record{time: e.Time, stderr: e.Stream == guest.Stderr, lines: e.Lines, boot: boot, end: e.Seq, bytes: e.Bytes}
	if l.size > 0 && l.size+int64(r.size()) > l.limit {
		if err := l.rotate(); err != nil {
			return 0, fmt.Errorf("rotate log %s: %w", l.path, err)
		}
	}
	n, err := l.file.Write(r.append(make([]byte, 0, r.size())))
	l.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("append to log %s: %w", l.path, errors.Join(err, l.reopen()))
	}
	l.boot, l.end = boot, e.Seq
	l.tellReaders()
	return n, nil
}

// reopen makes the next call remove what a failed write has left.
func (l *Log) reopen() error {
	err := l.file.Close()
	l.file = nil
	return err
}

func (l *Log) rotate() error {
	boot, end := l.boot, l.end
	err := errors.Join(l.file.Close(), os.Rename(l.path, l.path+".1"))
	l.file = nil
	if err != nil {
		return err
	}
	err = l.open()
	l.boot, l.end = boot, end
	return err
}

func (l *Log) tellReaders() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Begin says that the output of a boot is being read from now on.
func (l *Log) Begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.doneSet {
		l.done, l.doneSet = make(chan struct{}), false
	}
}

// Finished says that the container's complete output of this boot was stored.
func (l *Log) Finished() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.doneSet {
		l.doneSet = true
		close(l.done)
		l.tellReaders()
	}
}

// CaughtUp returns a channel that is closed when all output of this boot is stored.
func (l *Log) CaughtUp() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

// End says that no further output will come, which ends the requests that follow the log.
func (l *Log) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended = true
		l.tellReaders()
	}
}

// Close ends the log and closes its file.
func (l *Log) Close() {
	l.End()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.reopen() //nolint:errcheck // nothing is buffered
	}
}

// state returns whether the output is complete, because the pod or the container has ended for
// good, and a channel that is closed at the next change.
func (l *Log) state() (ended bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended || l.doneSet, l.changed
}

func openIfThere(path string) (*os.File, error) {
	f, err := os.Open(path) //nolint:gosec // the agent's own state
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing has been logged yet
	}
	return f, err
}
