// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"husk/guest"
)

// Limits of what a pod's containers write to the node's disk, in bytes.
const (
	// maxLogFile is the largest size of a log file. There are at most two per container, the current
	// one and the previous one. maxPodLogs limits those of all containers of a pod.
	maxLogFile = 10 << 20
	maxPodLogs = 64 << 20
	// logRate is per second and pod, with bursts of logBurst. A guest whose log is not read fast
	// enough drops its oldest lines, and the next line says how many. finalLogRate is for the last
	// lines of an ended pod, for which the agent does not wait long.
	logRate      = 1 << 20
	logBurst     = 4 << 20
	finalLogRate = 4 << 20
)

// logFileLimit is the largest size of a log file of a pod with this many containers.
func logFileLimit(containers int) int64 {
	return min(maxLogFile, maxPodLogs/2/int64(max(1, containers)))
}

// logLine is one line, as it is stored and as it is sent to clients that request JSON lines. Boot
// and seq say where to continue reading after a restart of the agent, so the file needs no separate
// position.
type logLine struct {
	Time    time.Time `json:"time"`
	Stream  string    `json:"stream"`
	Line    string    `json:"line"`
	Partial bool      `json:"partial,omitempty"`
	Dropped uint64    `json:"dropped,omitempty"`
	Boot    string    `json:"boot,omitempty"`
	Seq     uint64    `json:"seq,omitempty"`
	Cursor  string    `json:"cursor,omitempty"` // for clients, instead of boot and seq: where to continue
}

// containerLog keeps the output of one container on the node, so that it can be read after the
// machine is gone.
type containerLog struct {
	path  string
	limit int64 // of one file

	mu      sync.Mutex
	file    *os.File
	size    int64
	boot    string // of the last line
	seq     uint64
	missing uint64        // lines that were dropped since the log was opened
	ended   bool          // no further output will come
	changed chan struct{} // closed and replaced when something was appended
	done    chan struct{} // closed when a pump has reached the end of the container's output
	doneSet bool
}

func newContainerLog(path string, limit int64) *containerLog {
	return &containerLog{path: path, limit: limit, changed: make(chan struct{}), done: make(chan struct{})}
}

// open prepares for appending. It removes a line that a crash has truncated, and reads the position
// from the last line.
func (l *containerLog) open() error {
	if l.file != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return err
	}
	raw, err := os.ReadFile(l.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	whole := raw[:bytes.LastIndexByte(raw, '\n')+1]
	var last []byte
	if len(whole) > 0 {
		last = whole[bytes.LastIndexByte(whole[:len(whole)-1], '\n')+1:]
	} else if last, err = lastLine(l.path + ".1"); err != nil {
		return err
	}
	if len(last) > 0 {
		var line logLine
		if err := json.Unmarshal(last, &line); err != nil {
			return fmt.Errorf("last line of %s: %w", l.path, err)
		}
		l.boot, l.seq = line.Boot, line.Seq
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // the agent's own state
	if err != nil {
		return err
	}
	if err := f.Truncate(int64(len(whole))); err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.size = f, int64(len(whole))
	return nil
}

func lastLine(path string) ([]byte, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // the agent's own state
	if errors.Is(err, fs.ErrNotExist) || len(raw) == 0 {
		return nil, nil
	}
	return raw[bytes.LastIndexByte(bytes.TrimRight(raw, "\n"), '\n')+1:], err
}

// bookmark returns the number of the last stored line of this boot of the guest.
func (l *containerLog) bookmark(boot string) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil {
		return 0, fmt.Errorf("open log %s: %w", l.path, err)
	}
	if l.boot != boot {
		return 0, nil
	}
	return l.seq, nil
}

// append stores a line and returns how many bytes that took.
func (l *containerLog) append(boot string, e guest.LogEntry) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil {
		return 0, err
	}
	if l.boot == boot && e.Seq > l.seq { // do not rely on the guest's own count
		e.Dropped = min(e.Seq-l.seq-1, 1<<53)
	}
	raw, err := json.Marshal(logLine{
		Time: e.Time, Stream: e.Stream, Line: string(e.Line), Partial: e.Partial, Dropped: e.Dropped, Boot: boot, Seq: e.Seq,
	})
	if err != nil {
		return 0, err
	}
	raw = append(raw, '\n')
	if l.size+int64(len(raw)) > l.limit {
		if err := l.rotate(); err != nil {
			return 0, fmt.Errorf("rotate log %s: %w", l.path, err)
		}
	}
	n, err := l.file.Write(raw)
	l.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("append to log %s: %w", l.path, err)
	}
	l.boot, l.seq, l.missing = boot, e.Seq, l.missing+e.Dropped
	l.tellReaders()
	return n, nil
}

func (l *containerLog) rotate() error {
	err := errors.Join(l.file.Close(), os.Rename(l.path, l.path+".1"))
	l.file = nil
	if err != nil {
		return err
	}
	boot, seq := l.boot, l.seq
	err = l.open()
	l.boot, l.seq = boot, seq
	return err
}

func (l *containerLog) tellReaders() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// begin says that the output of a boot is being read from now on.
func (l *containerLog) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.doneSet {
		l.done, l.doneSet = make(chan struct{}), false
	}
}

// finished says that a pump has read the container's complete output of this boot.
func (l *containerLog) finished() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.doneSet {
		l.doneSet = true
		close(l.done)
		l.tellReaders()
	}
}

// caughtUp returns a channel that is closed when all output of this boot is stored.
func (l *containerLog) caughtUp() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

// end says that no further output will come, which ends the requests that follow the log.
func (l *containerLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended = true
		l.tellReaders()
	}
}

// close ends the log and closes its file.
func (l *containerLog) close() {
	l.end()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close() //nolint:errcheck // nothing is buffered
		l.file = nil
	}
}

// state returns whether the output is complete, because the pod or the container has ended for
// good, and a channel that is closed at the next change.
func (l *containerLog) state() (ended bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended || l.doneSet, l.changed
}

// pump copies a container's output from the guest to its log, within the pod's rate.
func (w *worker) pump(ctx context.Context, client *guest.Client, boot, container string, log *containerLog) {
	after, err := log.bookmark(boot)
	if err == nil {
		err = client.Logs(ctx, container, after, true, func(e guest.LogEntry) error {
			n, err := log.append(boot, e)
			return errors.Join(err, w.logRate.WaitN(ctx, n))
		})
	}
	switch {
	case err == nil:
		log.finished()
	case ctx.Err() == nil:
		w.log.Warn("container log is incomplete", "container", container, "error", err)
	}
}
