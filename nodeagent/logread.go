// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// logReader reads a container's log from its beginning, and continues where it stopped, also across
// a rotation.
type logReader struct {
	path string
	file *os.File
	in   *bufio.Reader
	part []byte // a line that is not complete yet
}

// close closes the file.
func (r *logReader) close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// next passes every line that was added since the last call to emit.
func (r *logReader) next(emit func(logLine) error) error {
	for {
		if r.file == nil {
			if err := r.open(emit); err != nil || r.file == nil {
				return err
			}
		}
		if err := r.drain(emit); err != nil {
			return err
		}
		rotated, err := r.rotated()
		if err != nil || !rotated {
			return err
		}
		if err := r.file.Close(); err != nil {
			return err
		}
		r.file, r.part = nil, nil
		if r.file, err = openIfThere(r.path); err != nil || r.file == nil {
			return err
		}
		r.in = bufio.NewReader(r.file)
	}
}

// open opens the current file and then reads the previous one. In this order no line is missed if a
// rotation happens in between.
func (r *logReader) open(emit func(logLine) error) error {
	current, err := openIfThere(r.path)
	if err != nil {
		return err
	}
	before, err := openIfThere(r.path + ".1")
	if err != nil {
		return err
	}
	if before != nil && (current == nil || !sameFile(current, before)) {
		old := logReader{path: r.path, file: before, in: bufio.NewReader(before)}
		if err := errors.Join(old.drain(emit), old.close()); err != nil {
			return err
		}
	} else if before != nil {
		if err := before.Close(); err != nil {
			return err
		}
	}
	if current != nil {
		r.file, r.in = current, bufio.NewReader(current)
	}
	return nil
}

func (r *logReader) drain(emit func(logLine) error) error {
	for {
		raw, err := r.in.ReadBytes('\n')
		r.part = append(r.part, raw...)
		if err != nil {
			return nil //nolint:nilerr // the end for now; the next call reads the rest of the line
		}
		var l logLine
		if err := json.Unmarshal(r.part, &l); err != nil {
			return fmt.Errorf("log %s: %w", r.path, err)
		}
		r.part = r.part[:0]
		if err := emit(l); err != nil {
			return err
		}
	}
}

// rotated reports whether the path now refers to another file.
func (r *logReader) rotated() (bool, error) {
	now, err := os.Stat(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // deleted with its pod, or during a rotation
	}
	if err != nil {
		return false, err
	}
	mine, err := r.file.Stat()
	return err == nil && !os.SameFile(now, mine), err
}

func openIfThere(path string) (*os.File, error) {
	f, err := os.Open(path) //nolint:gosec // the agent's own state
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing has been logged yet
	}
	return f, err
}

func sameFile(a, b *os.File) bool {
	x, err1 := a.Stat()
	y, err2 := b.Stat()
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// selection says which lines a reader wants.
type selection struct {
	tail  int       // only this many of the last lines; all if negative
	since time.Time // only lines of this time or later
	after *cursor   // only lines after this one
}

// cursor is the position of a line: the boot of the guest in which it was written, and its number
// in that boot.
type cursor struct {
	boot string
	seq  uint64
}

func parseCursor(text string) (*cursor, error) {
	boot, number, _ := strings.Cut(text, ".")
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil || boot == "" {
		return nil, fmt.Errorf("%q is not a log cursor", text)
	}
	return &cursor{boot, seq}, nil
}

func (c cursor) String() string { return c.boot + "." + strconv.FormatUint(c.seq, 10) }

// filter passes on the lines that a reader wants; it does not apply tail. Boots are only ordered by
// their position in the file. So it first reads the file to find the boot of the cursor. If that
// boot is gone, all lines are after the cursor.
func (s selection) filter(path string, emit func(logLine) error) (func(logLine) error, error) {
	skipping := false
	if s.after != nil {
		r := logReader{path: path}
		err := r.next(func(l logLine) error { skipping = skipping || l.Boot == s.after.boot; return nil })
		if err = errors.Join(err, r.close()); err != nil {
			return nil, err
		}
	}
	reached := false // the boot of the cursor
	return func(l logLine) error {
		if skipping {
			switch {
			case l.Boot == s.after.boot && l.Seq <= s.after.seq:
				reached = true
				return nil
			case l.Boot != s.after.boot && !reached:
				return nil
			}
			skipping = false
		}
		if l.Time.Before(s.since) {
			return nil
		}
		return emit(l)
	}, nil
}

// streamLog writes the selected lines of a log and, with follow, new lines until the log ends.
func streamLog(ctx context.Context, log *containerLog, what selection, follow bool, out lineWriter) error {
	r := logReader{path: log.path}
	defer r.close()               //nolint:errcheck // only opened for reading
	ended, changed := log.state() // before reading, so that no change in between is missed
	last := newRing(what.tail)
	catching := what.tail >= 0
	wanted, err := what.filter(log.path, func(l logLine) error {
		if catching {
			return last.add(l)
		}
		return out.write(l)
	})
	if err != nil {
		return err
	}
	if err := r.next(wanted); err != nil {
		return err
	}
	catching = false
	for _, l := range last.lines() {
		if err := out.write(l); err != nil {
			return err
		}
	}
	for {
		if err := out.flush(); err != nil || !follow || ended {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
		ended, changed = log.state()
		if err := r.next(wanted); err != nil {
			return err
		}
	}
}

// ring keeps the last n lines, or all if n is negative.
type ring struct {
	n    int
	kept []logLine
	from int
}

func newRing(n int) *ring { return &ring{n: n} }

func (r *ring) add(l logLine) error {
	switch {
	case r.n < 0 || len(r.kept) < r.n:
		r.kept = append(r.kept, l)
	case r.n > 0:
		r.kept[r.from] = l
		r.from = (r.from + 1) % r.n
	}
	return nil
}

func (r *ring) lines() []logLine {
	return append(r.kept[r.from:len(r.kept):len(r.kept)], r.kept[:r.from]...)
}
