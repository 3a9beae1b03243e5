// SPDX-License-Identifier: Apache-2.0

package logring

import (
	"bytes"
	"io"
	"time"

	"husk/guest"
)

// CopyLines reads a container's output to its end and adds it to the ring line by line. Lines
// longer than guest.MaxLogLine are added in parts of that length. A terminal also ends lines with a
// carriage return, which is not part of the log.
func CopyLines(out *Ring, stream string, r io.Reader, terminal bool) {
	buf := make([]byte, guest.MaxLogLine)
	have := 0
	add := func(line []byte, partial bool) {
		out.Add(guest.LogEntry{Time: time.Now(), Stream: stream, Partial: partial, Line: bytes.Clone(line)})
	}
	for {
		n, err := r.Read(buf[have:])
		have += n
		rest := buf[:have]
		for {
			line, after, ok := bytes.Cut(rest, []byte{'\n'})
			if !ok {
				break
			}
			if terminal {
				line = bytes.TrimSuffix(line, []byte{'\r'})
			}
			add(line, false)
			rest = after
		}
		if len(rest) == len(buf) {
			add(rest, true)
			rest = nil
		}
		have = copy(buf, rest)
		if err != nil {
			if have > 0 {
				add(buf[:have], false)
			}
			return
		}
	}
}
