// SPDX-License-Identifier: Apache-2.0

package podlog

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"husk/guest"
)

// jsonLine is a line as clients get it in JSON.
type jsonLine struct {
	Time         time.Time `json:"time"`
	Stream       string    `json:"stream"`
	Line         string    `json:"line"`
	Bytes        []byte    `json:"bytes,omitempty"` // the line, if it is not text
	Partial      bool      `json:"partial,omitempty"`
	Dropped      uint64    `json:"dropped,omitempty"`
	DroppedBytes uint64    `json:"droppedBytes,omitempty"`
	Cursor       string    `json:"cursor"`
}

// Writer writes lines as text or as JSON.
type Writer struct {
	W          io.Writer
	JSON       bool
	Timestamps bool // before each line of text

	within bool // a line has begun
}

// Line writes one line.
func (w *Writer) Line(l Line) error {
	if w.JSON {
		j := jsonLine{
			Time: l.Time, Stream: guest.Stdout, Line: string(l.Bytes), Partial: l.Partial, Dropped: l.Lost.Lines, DroppedBytes: l.Lost.Bytes,
			Cursor: l.Cursor.String(),
		}
		if l.Stderr {
			j.Stream = guest.Stderr
		}
		if !utf8.Valid(l.Bytes) {
			j.Bytes = l.Bytes
		}
		return json.NewEncoder(w.W).Encode(j)
	}
	var text []byte
	if l.Lost != (Loss{}) {
		if w.within {
			text = append(text, '\n')
		}
		text, w.within = append(text, l.Lost.note()...), false
	}
	if w.Timestamps && !w.within {
		text = l.Time.UTC().AppendFormat(text, time.RFC3339Nano)
		text = append(text, ' ')
	}
	text = append(text, l.Bytes...)
	if !l.Partial {
		text = append(text, '\n')
	}
	w.within = l.Partial
	_, err := w.W.Write(text)
	return err
}

// note is the line that stands for missing output in a text.
func (l Loss) note() string {
	if l.Lines > 0 {
		return fmt.Sprintf("[husk: %d lines of output are missing here]\n", l.Lines)
	}
	return fmt.Sprintf("[husk: %d bytes of output are missing here]\n", l.Bytes)
}
