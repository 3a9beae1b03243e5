package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// table prints columns. With rows that come one by one its columns only ever get wider.
type table struct {
	out    io.Writer
	color  bool
	widths []int
}

const columnGap = 3

// rows prints rows together, so that the columns fit all of them.
func (t *table) rows(rows ...[]string) error {
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

// paint says which states are green, yellow and red. They are words that nothing else in a table is.
var paint = map[string]string{
	"Running": "32", "Ready": "32", "Available": "32", "InUse": "32",
	"Pending": "33", "Starting": "33", "Stopping": "33", "Importing": "33", "Creating": "33", "Deleting": "33", "Unknown": "33",
	"Failed": "31",
}

func (t *table) painted(cell string) string {
	if code, ok := paint[cell]; ok && t.color {
		return "\x1b[" + code + "m" + cell + "\x1b[0m"
	}
	return cell
}

// facts prints lines of names and what they are, for one thing; what is empty is left out.
type facts struct{ lines [][2]string }

func (f *facts) add(name, text string) {
	if text != "" {
		f.lines = append(f.lines, [2]string{name, clean(text)})
	}
}

// gap leaves a line empty.
func (f *facts) gap() { f.lines = append(f.lines, [2]string{}) }

func (f *facts) print(out io.Writer) error {
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
