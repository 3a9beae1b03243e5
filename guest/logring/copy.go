// SPDX-License-Identifier: Apache-2.0

package logring

import (
	"bytes"
	"io"
	"time"
	"unicode/utf8"

	"husk/guest"
)

// Copy reads a container's output to its end and adds it to the ring, complete lines at a time. A
// line longer than guest.MaxLogPiece is added in parts, and the ring gets no newline that the
// container did not write. A terminal ends lines with a carriage return too, which is not part of
// the log. hold says how long the container waits while nothing reads the ring.
func Copy(out *Ring, stream string, r io.Reader, terminal bool, hold func() time.Duration) {
	buf := make([]byte, guest.MaxLogPiece)
	have := 0
	add := func(p []byte) {
		if p = bytes.Clone(p); terminal {
			p = bytes.ReplaceAll(p, []byte("\r\n"), []byte("\n"))
		}
		out.Add(guest.LogEntry{Time: time.Now(), Stream: stream, Bytes: p}, hold)
	}
	for {
		n, err := r.Read(buf[have:])
		have += n
		rest := buf[:have]
		if lines := bytes.LastIndexByte(rest, '\n') + 1; lines > 0 {
			add(rest[:lines])
			rest = rest[lines:]
		}
		if len(rest) == len(buf) {
			part := wholeRunes(rest)
			add(rest[:part])
			rest = rest[part:]
		}
		have = copy(buf, rest)
		if err != nil {
			if have > 0 {
				add(buf[:have])
			}
			return
		}
	}
}

// wholeRunes returns how many bytes of p to take so that no character is cut at the end. Bytes that
// are not a character are taken as they are.
func wholeRunes(p []byte) int {
	for n := len(p) - 1; n > 0 && n >= len(p)-utf8.UTFMax; n-- {
		if utf8.RuneStart(p[n]) {
			if p[n] == '\r' || !utf8.FullRune(p[n:]) {
				return n
			}
			break
		}
	}
	return len(p)
}
