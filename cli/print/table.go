// SPDX-License-Identifier: Apache-2.0

package print

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Table prints columns. When rows are printed one by one, its columns can become wider, but not narrower.
type Table struct {
	out    io.Writer
	color  bool
	widths []int
}

const columnGap = 3

// Rows prints rows together, so that the columns fit all of them.
func (t *Table) Rows(rows ...[]string) error {
	for _, row := range rows {
		for i, cell := range row {
			if i >= len(t.widths) {
				t.widths = append(t.widths, 0)
			}
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			b.WriteString(t.painted(cell))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", t.widths[i]+columnGap-utf8.RuneCountInString(cell)))
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

// paint has the colors of states: green, yellow or red. Other states have none. A cell is colored if its whole text is one of these words.
var paint = map[string]string{
	"Running": "32", "Ready": "32", "Available": "32", "InUse": "32",
	"Pending": "33", "Starting": "33", "Stopping": "33", "Importing": "33", "Creating": "33", "Deleting": "33", "Unknown": "33",
	"Failed": "31",
}

func (t *Table) painted(cell string) string {
	if code, ok := paint[cell]; ok && t.color {
		return "\x1b[" + code + "m" + cell + "\x1b[0m"
	}
	return cell
}

// Facts prints lines of names and values about one object. It leaves empty values out.
type Facts struct{ lines [][2]string }

// Add adds a line.
func (f *Facts) Add(name, text string) {
	if text != "" {
		f.lines = append(f.lines, [2]string{name, Clean(text)})
	}
}

// Gap adds an empty line.
func (f *Facts) Gap() { f.lines = append(f.lines, [2]string{}) }

// Print prints the lines.
func (f *Facts) Print(out io.Writer) error {
	width := 0
	for _, l := range f.lines {
		width = max(width, utf8.RuneCountInString(l[0]))
	}
	for _, l := range f.lines {
		if _, err := fmt.Fprintln(out, strings.TrimRight(l[0]+strings.Repeat(" ", width+2-utf8.RuneCountInString(l[0]))+l[1], " ")); err != nil {
			return err
		}
	}
	return nil
}
