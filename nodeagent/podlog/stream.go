// SPDX-License-Identifier: Apache-2.0

package podlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Line is a line of a container's output, or a part of one.
type Line struct {
	Time    time.Time
	Stderr  bool
	Bytes   []byte // without its newline
	Partial bool   // has no newline: the line continues in the stream's next part, or never ends
	Lost    Loss   // output that is missing immediately before this line
	Cursor  Cursor // of its end
}

// Loss is how much output is missing.
type Loss struct{ Bytes, Lines uint64 } // in lines if a guest of the previous version dropped them

// Cursor is a position in a log: the boot of the guest, and the position in the output of that boot.
type Cursor struct {
	Boot string
	At   uint64
}

// ParseCursor reads what String has written.
func ParseCursor(text string) (*Cursor, error) {
	boot, number, _ := strings.Cut(text, ".")
	at, err := strconv.ParseUint(number, 10, 64)
	if err != nil || boot == "" {
		return nil, fmt.Errorf("%q is not a log cursor", text)
	}
	return &Cursor{boot, at}, nil
}

func (c Cursor) String() string { return c.Boot + "." + strconv.FormatUint(c.At, 10) }

// Selection says which lines a reader wants.
type Selection struct {
	Tail  int       // only this many of the last lines; all if negative
	Since time.Time // only lines of this time or later
	After *Cursor   // only what comes after it
}

// whole reports whether the reader wants everything from the beginning.
func (s Selection) whole() bool { return s.Tail < 0 && s.Since.IsZero() && s.After == nil }

// splitter makes lines of records, and finds what is missing between them.
type splitter struct {
	want  Selection
	emit  func(Line) error
	known bool   // the position from which on everything is wanted is known
	at    Cursor // the end of the last record
	lost  Loss   // before the next line that is emitted

	skipping bool // until the boot of want.After begins
}

// newSplitter returns a splitter that passes on the lines that a reader wants; it does not apply
// Tail. Boots are only ordered by their position in the file. So it first reads the file to find the
// boot of the cursor. If that boot is gone, everything is after the cursor.
func newSplitter(path string, want Selection, emit func(Line) error) (*splitter, error) {
	s := &splitter{want: want, emit: emit, known: want.whole()}
	if want.After == nil {
		return s, nil
	}
	r := reader{path: path}
	err := r.next(func(rec record) error { s.skipping = s.skipping || rec.boot == want.After.Boot; return nil })
	s.known = true
	return s, errors.Join(err, r.close())
}

// split passes on the lines of a record.
func (s *splitter) split(r record) error {
	if s.skipping {
		if r.boot != s.want.After.Boot {
			return nil
		}
		s.skipping, s.at = false, *s.want.After
	}
	from := s.at.At
	if r.boot != s.at.Boot { // the machine was started again
		from = 0
	}
	if gap := r.start(); s.known && gap > from {
		if r.lines {
			s.lost.Lines += gap - from
		} else {
			s.lost.Bytes += gap - from
		}
	}
	s.known = true
	seen := from
	s.at = Cursor{r.boot, max(from, r.end)}
	at := r.start()
	if len(r.bytes) == 0 && s.lost != (Loss{}) { // the end of the output is missing
		l := Line{Time: r.time, Stderr: r.stderr, Partial: true, Lost: s.lost, Cursor: s.at}
		s.lost = Loss{}
		return s.emit(l)
	}
	for rest := r.bytes; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte{'\n'})
		rest = after
		if !r.lines {
			at += uint64(len(line))
			if ended {
				at++
			}
		} else { // one line per record
			at = r.end
		}
		if at <= seen || r.time.Before(s.want.Since) {
			continue
		}
		l := Line{Time: r.time, Stderr: r.stderr, Bytes: line, Partial: !ended, Lost: s.lost, Cursor: Cursor{r.boot, at}}
		s.lost = Loss{}
		if err := s.emit(l); err != nil {
			return err
		}
	}
	return nil
}

// Out is where a stream of lines goes.
type Out interface {
	Write(l Line) error
	Flush() error
}

// Stream writes the selected lines and, with follow, new lines until the log ends.
func (l *Log) Stream(ctx context.Context, want Selection, follow bool, out Out) error {
	l.mu.Lock()
	err := l.convert()
	l.mu.Unlock()
	if err != nil {
		return err
	}
	r := reader{path: l.path}
	defer r.close()             //nolint:errcheck // only opened for reading
	ended, changed := l.state() // before reading, so that no change in between is missed
	skip, err := l.beforeTail(ctx, want)
	if err != nil {
		return err
	}
	s, err := newSplitter(l.path, want, func(line Line) error {
		if skip > 0 {
			if !line.Partial {
				skip--
			}
			return ctx.Err()
		}
		return out.Write(line)
	})
	if err != nil {
		return err
	}
	if err := r.next(s.split); err != nil {
		return err
	}
	skip = 0 // less is there than was counted, because the log has rotated
	for {
		if err := out.Flush(); err != nil || !follow || ended {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
		ended, changed = l.state()
		if err := r.next(s.split); err != nil {
			return err
		}
	}
}

// beforeTail returns how many lines come before the last ones that are wanted. It counts them first, because
// a pod can write millions of empty lines, and keeping what may be the last of them would take much memory.
func (l *Log) beforeTail(ctx context.Context, want Selection) (int, error) {
	if want.Tail < 0 {
		return 0, nil
	}
	r := reader{path: l.path}
	defer r.close() //nolint:errcheck // only opened for reading
	lines, open := 0, false
	s, err := newSplitter(l.path, want, func(line Line) error {
		if !line.Partial {
			lines++
		}
		open = line.Partial && len(line.Bytes) > 0
		return ctx.Err()
	})
	if err == nil {
		err = r.next(s.split)
	}
	if open { // a part at the end is a line of its own
		lines++
	}
	return max(0, lines-want.Tail), err
}
