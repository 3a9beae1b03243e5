package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"
)

// view says how objects of one kind are shown.
type view[T any] struct {
	kind    string
	columns []column[T]
	name    func(T) string
}

// column is one of a table; wide ones are left out unless asked for.
type column[T any] struct {
	title string
	wide  bool
	text  func(T) string
}

var formats = []string{"table", "wide", "json", "yaml", "name"}

// printer is how the output was asked for.
type printer struct {
	out       io.Writer
	format    string
	noHeaders bool
}

func (p printer) table() *table { return &table{out: p.out, color: colorful(p.out)} }

// tabular tells whether people read this, and not programs.
func (p printer) tabular() bool { return p.format == "table" || p.format == "wide" }

// outputFlags adds -o and returns a function that reads and checks it. The preset may be a format that cannot be asked for.
func (a *app) outputFlags(cmd *cobra.Command, preset string) func() (printer, error) {
	format := cmd.Flags().StringP("output", "o", preset, strings.Join(formats, ", "))
	noHeaders := cmd.Flags().Bool("no-headers", false, "leave the line of headers of a table out")
	a.completeWords(cmd, "output", formats...)
	return func() (printer, error) {
		if !slices.Contains(formats, *format) && *format != preset {
			return printer{}, usagef("--output: %q is not one of %s", *format, strings.Join(formats, ", "))
		}
		return printer{a.out, *format, *noHeaders}, nil
	}
}

// show prints a list.
func (v view[T]) show(p printer, items []T) error {
	switch p.format {
	case "json":
		return writeJSON(p.out, map[string]any{"items": notNil(items)})
	case "yaml":
		return writeYAML(p.out, map[string]any{"items": notNil(items)})
	case "name":
		for _, item := range items {
			if _, err := fmt.Fprintln(p.out, v.ref(item)); err != nil {
				return err
			}
		}
		return nil
	}
	var rows [][]string
	if !p.noHeaders {
		rows = append(rows, v.header(p.format))
	}
	for _, item := range items {
		rows = append(rows, v.row(p.format, item))
	}
	return p.table().rows(rows...)
}

func notNil[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

// one prints a single object, which json and yaml show without a list around it.
func (v view[T]) one(p printer, item T) error {
	switch p.format {
	case "json":
		return writeJSON(p.out, item)
	case "yaml":
		return writeYAML(p.out, item)
	default:
		return v.show(p, []T{item})
	}
}

// ref is how an object is called on a command line: pod/web.
func (v view[T]) ref(item T) string { return v.kind + "/" + clean(v.name(item)) }

// done prints what was done with an object, or the object if its form was asked for.
func (v view[T]) done(p printer, item T, what string) error {
	if p.format != "text" {
		return v.one(p, item)
	}
	_, err := fmt.Fprintln(p.out, v.ref(item), what)
	return err
}

func (v view[T]) header(format string) []string {
	var cells []string
	for _, c := range v.columns {
		if !c.wide || format == "wide" {
			cells = append(cells, c.title)
		}
	}
	return cells
}

func (v view[T]) row(format string, item T) []string {
	var cells []string
	for _, c := range v.columns {
		if !c.wide || format == "wide" {
			text := clean(c.text(item))
			if text == "" {
				text = "-"
			}
			cells = append(cells, text)
		}
	}
	return cells
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeYAML prints the JSON form as YAML, with JSON's names and order.
func writeYAML(w io.Writer, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return err
	}
	plain(&doc)
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(&doc); err != nil {
		return err
	}
	_, err = w.Write(out.Bytes())
	return err
}

// plain drops the braces and quotes that came from JSON; the encoder puts quotes back where they are needed.
func plain(n *yaml.Node) {
	if len(n.Content) > 0 || n.Kind == yaml.ScalarNode {
		n.Style = 0
	}
	for _, c := range n.Content {
		plain(c)
	}
}

// clean makes text from elsewhere safe for a terminal and a table's cell: no control characters, and none that turn the text around.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, text)
}

func value[T any](p *T) T {
	if p == nil {
		var none T
		return none
	}
	return *p
}

// given is a pointer to what was given, or nil for what is zero.
func given[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// age says how long ago something was, in its largest unit.
func age(since time.Time) string {
	d := max(time.Since(since), 0)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
}

func ageOf(t *time.Time) string {
	if t == nil {
		return ""
	}
	return age(*t)
}

func moment(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.RFC3339)
}
