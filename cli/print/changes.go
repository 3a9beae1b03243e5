// SPDX-License-Identifier: Apache-2.0

package print

import (
	"encoding/json"
	"fmt"
	"strings"

	"husk/client"
)

// Changes prints the changes of a watch.
type Changes[T any] struct {
	view    View[T]
	id      func(T) string
	printer Printer
	table   *Table
	headed  bool
	rows    map[string]string // the row of each object, without its age, by ID
}

// NewChanges starts with nothing printed.
func NewChanges[T any](p Printer, v View[T], id func(T) string) *Changes[T] {
	return &Changes[T]{view: v, id: id, printer: p, table: p.Table(), rows: map[string]string{}}
}

// Print prints a change. A table leaves out a change that none of its columns shows.
func (c *Changes[T]) Print(change client.Change[T]) error {
	object := map[string]any{"type": change.Type, "object": change.Object}
	switch c.printer.Format {
	case "json":
		e := json.NewEncoder(c.printer.Out)
		e.SetEscapeHTML(false)
		return e.Encode(object)
	case "yaml":
		if _, err := fmt.Fprintln(c.printer.Out, "---"); err != nil {
			return err
		}
		return YAML(c.printer.Out, object)
	case "name":
		_, err := fmt.Fprintln(c.printer.Out, change.Type, c.view.Ref(change.Object))
		return err
	}
	if printed, err := c.printer.template(change.Object); printed {
		return err
	}
	id, row := c.id(change.Object), c.view.row(c.printer.Format, change.Object)
	if change.Type == client.Deleted {
		delete(c.rows, id)
		return c.row(change.Type, row)
	}
	before := c.rows[id]
	c.rows[id] = strings.Join(c.withoutAge(row), "\x00")
	if change.Type == client.Modified && c.rows[id] == before {
		return nil
	}
	return c.row(change.Type, row)
}

func (c *Changes[T]) row(what client.ChangeType, row []string) error {
	var rows [][]string
	if !c.headed && !c.printer.NoHeaders {
		rows = append(rows, append([]string{"EVENT"}, c.view.header(c.printer.Format)...))
	}
	c.headed = true
	return c.table.Rows(append(rows, append([]string{string(what)}, row...))...)
}

// withoutAge returns a row without its age, which changes by itself.
func (c *Changes[T]) withoutAge(row []string) []string {
	var out []string
	for i, title := range c.view.header(c.printer.Format) {
		if title != "AGE" {
			out = append(out, row[i])
		}
	}
	return out
}
