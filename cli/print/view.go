// SPDX-License-Identifier: Apache-2.0

package print

import (
	"fmt"
	"io"

	"husk/cli/terminal"
)

// View says how to show objects of one kind.
type View[T any] struct {
	Kind     string
	Document string // the kind of documents that describe such objects, such as Pod; empty if husk apply has none
	Columns  []Column[T]
	Name     func(T) string
}

// Column is a column of a table.
type Column[T any] struct {
	Title string
	Wide  bool // only shown by -o wide
	Text  func(T) string
}

// Col returns a column of every table.
func Col[T any](title string, text func(T) string) Column[T] { return Column[T]{title, false, text} }

// WideCol returns a column that only -o wide shows.
func WideCol[T any](title string, text func(T) string) Column[T] { return Column[T]{title, true, text} }

// Formats are the values of --output. Some commands also have text.
var Formats = []string{"table", "wide", "json", "yaml", "name"}

// Printer is where to print, and in which format.
type Printer struct {
	Out       io.Writer
	Format    string
	NoHeaders bool
	Quiet     bool // only names instead of a table
}

// Table starts a table.
func (p Printer) Table() *Table { return &Table{out: p.Out, color: terminal.Colorful(p.Out)} }

// Tabular reports whether the output is a table.
func (p Printer) Tabular() bool { return p.Format == "table" || p.Format == "wide" }

// Value prints a value if the format is JSON, YAML or a template, and reports whether it is.
func (p Printer) Value(v any) (printed bool, _ error) {
	switch p.Format {
	case "json":
		return true, JSON(p.Out, v)
	case "yaml":
		return true, YAML(p.Out, v)
	case "table", "wide", "text", "name":
		return false, nil
	default:
		return p.template(v)
	}
}

// List prints a list if the format is JSON, YAML or a template, and reports whether it is.
func List[T any](p Printer, items []T) (printed bool, _ error) {
	if items == nil {
		items = []T{}
	}
	return p.Value(map[string]any{"items": items})
}

// Show prints a list.
func (v View[T]) Show(p Printer, items []T) error {
	if printed, err := v.values(p, items); printed {
		return err
	}
	if names := p.Quiet && p.Tabular(); names || p.Format == "name" {
		for _, item := range items {
			line := v.Ref(item)
			if names {
				line = Clean(v.Name(item))
			}
			if line == "" { // a total has no name
				continue
			}
			if _, err := fmt.Fprintln(p.Out, line); err != nil {
				return err
			}
		}
		return nil
	}
	var rows [][]string
	if !p.NoHeaders {
		rows = append(rows, v.header(p.Format))
	}
	for _, item := range items {
		rows = append(rows, v.row(p.Format, item))
	}
	return p.Table().Rows(rows...)
}

// One prints a single object. JSON and YAML show it without a list around it.
func (v View[T]) One(p Printer, item T) error {
	if printed, err := p.Value(v.value(item)); printed {
		return err
	}
	return v.Show(p, []T{item})
}

// Ref names an object as a command line takes it, such as pod/web.
func (v View[T]) Ref(item T) string { return v.Kind + "/" + Clean(v.Name(item)) }

// Done prints what was done with an object, or the object itself if --output was given.
func (v View[T]) Done(p Printer, item T, what string) error {
	if p.Format != "text" {
		return v.One(p, item)
	}
	_, err := fmt.Fprintln(p.Out, v.Ref(item), what)
	return err
}

func (v View[T]) header(format string) []string {
	var cells []string
	for _, c := range v.Columns {
		if !c.Wide || format == "wide" {
			cells = append(cells, c.Title)
		}
	}
	return cells
}

func (v View[T]) row(format string, item T) []string {
	var cells []string
	for _, c := range v.Columns {
		if !c.Wide || format == "wide" {
			text := Clean(c.Text(item))
			if text == "" {
				text = "-"
			}
			cells = append(cells, text)
		}
	}
	return cells
}
