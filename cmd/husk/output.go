package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
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

// outputFlag adds -o and returns a function that reads and checks it.
func outputFlag(cmd *cobra.Command, preset string) func() (string, error) {
	format := cmd.Flags().StringP("output", "o", preset, strings.Join(formats, ", "))
	return func() (string, error) {
		if !slices.Contains(formats, *format) && *format != preset {
			return "", usagef("--output: %q is not one of %s", *format, strings.Join(formats, ", "))
		}
		return *format, nil
	}
}

// show prints a list.
func (v view[T]) show(w io.Writer, format string, items []T) error {
	switch format {
	case "json":
		if items == nil {
			items = []T{}
		}
		return writeJSON(w, map[string]any{"items": items})
	case "yaml":
		if items == nil {
			items = []T{}
		}
		return writeYAML(w, map[string]any{"items": items})
	case "name":
		for _, item := range items {
			fmt.Fprintln(w, v.name(item))
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	v.header(t, format)
	for _, item := range items {
		v.row(t, format, item)
	}
	return t.Flush()
}

// one prints a single object, which json and yaml show without a list around it.
func (v view[T]) one(w io.Writer, format string, item T) error {
	switch format {
	case "json":
		return writeJSON(w, item)
	case "yaml":
		return writeYAML(w, item)
	default:
		return v.show(w, format, []T{item})
	}
}

func (v view[T]) header(w io.Writer, format string, before ...string) {
	cells := before
	for _, c := range v.columns {
		if !c.wide || format == "wide" {
			cells = append(cells, c.title)
		}
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}

func (v view[T]) row(w io.Writer, format string, item T, before ...string) {
	cells := before
	for _, c := range v.columns {
		if !c.wide || format == "wide" {
			text := clean(c.text(item))
			if text == "" {
				text = "-"
			}
			cells = append(cells, text)
		}
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
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

// clean makes text from elsewhere safe for a terminal and a table's cell: no control characters.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
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
