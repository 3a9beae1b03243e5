// SPDX-License-Identifier: Apache-2.0

package print

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The formats that take a template, as in kubectl.
const (
	pathFormat    = "jsonpath="
	columnsFormat = "custom-columns="
)

// Templated reports whether a format takes a template, and returns an error if the template is wrong.
func Templated(format string) (bool, error) {
	if text, ok := strings.CutPrefix(format, pathFormat); ok {
		_, err := parseTemplate(text)
		return true, err
	}
	if text, ok := strings.CutPrefix(format, columnsFormat); ok {
		_, err := parseColumns(text)
		return true, err
	}
	return false, nil
}

// template prints a value in a format that takes a template. The values of a list are in its field items.
func (p Printer) template(v any) (bool, error) {
	tree, err := treeOf(v)
	if err != nil {
		return false, err
	}
	if text, ok := strings.CutPrefix(p.Format, pathFormat); ok {
		parts, err := parseTemplate(text)
		if err != nil {
			return true, err
		}
		var b strings.Builder
		render(&b, parts, tree)
		_, err = fmt.Fprintln(p.Out, b.String())
		return true, err
	}
	text, ok := strings.CutPrefix(p.Format, columnsFormat)
	if !ok {
		return false, nil
	}
	columns, err := parseColumns(text)
	if err != nil {
		return true, err
	}
	items := []any{tree}
	if m, ok := tree.(map[string]any); ok {
		if all, ok := m["items"].([]any); ok {
			items = all
		}
	}
	var rows [][]string
	if !p.NoHeaders {
		var titles []string
		for _, c := range columns {
			titles = append(titles, c.title)
		}
		rows = append(rows, titles)
	}
	for _, item := range items {
		var row []string
		for _, c := range columns {
			text := Clean(texts(c.path.of([]any{item}), ","))
			if text == "" {
				text = "<none>"
			}
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	return true, p.Table().Rows(rows...)
}

// SortBy sorts objects by the value at a path, such as .status.phase. Numbers are sorted as numbers, and objects without the value come first.
func SortBy[T any](items []T, path string) error {
	if path == "" {
		return nil
	}
	steps, err := parsePath(strings.Trim(path, "{}"))
	if err != nil {
		return err
	}
	keys := make([]any, len(items))
	order := make([]int, len(items))
	for i, item := range items {
		tree, err := treeOf(item)
		if err != nil {
			return err
		}
		if found := steps.of([]any{tree}); len(found) > 0 {
			keys[i] = found[0]
		}
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return compare(keys[a], keys[b]) })
	sorted := make([]T, len(items))
	for i, at := range order {
		sorted[i] = items[at]
	}
	copy(items, sorted)
	return nil
}

func compare(a, b any) int {
	x, isX := a.(json.Number)
	y, isY := b.(json.Number)
	if isX && isY {
		n, errN := x.Float64()
		m, errM := y.Float64()
		if errN == nil && errM == nil {
			return cmp.Compare(n, m)
		}
	}
	return cmp.Compare(textOf(a), textOf(b))
}

func treeOf(v any) (any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var tree any
	return tree, d.Decode(&tree)
}

type column struct {
	title string
	path  path
}

func parseColumns(text string) ([]column, error) {
	var all []column
	for spec := range strings.SplitSeq(text, ",") {
		title, where, ok := strings.Cut(spec, ":")
		if !ok || title == "" || where == "" {
			return nil, fmt.Errorf("custom-columns: %q is not TITLE:PATH, such as NAME:.name", spec)
		}
		p, err := parsePath(strings.Trim(where, "{}"))
		if err != nil {
			return nil, err
		}
		all = append(all, column{title, p})
	}
	return all, nil
}

// part is a piece of a template: a text, a path, or parts that are repeated for each value at a path.
type part struct {
	text string
	path path
	each []part
}

func parseTemplate(text string) ([]part, error) {
	parts, rest, err := parseParts(text, false)
	if err == nil && rest != "" {
		err = fmt.Errorf("jsonpath: {end} without {range}")
	}
	return parts, err
}

func parseParts(text string, inRange bool) ([]part, string, error) {
	var parts []part
	for text != "" {
		plain, after, found := strings.Cut(text, "{")
		if plain != "" {
			parts = append(parts, part{text: plain})
		}
		if !found {
			break
		}
		inside, rest, closed := strings.Cut(after, "}")
		if !closed {
			return nil, "", fmt.Errorf("jsonpath: %q has no closing brace", "{"+after)
		}
		text = rest
		switch inside = strings.TrimSpace(inside); {
		case inside == "end" && inRange:
			return parts, text, nil
		case inside == "end":
			return nil, "", fmt.Errorf("jsonpath: {end} without {range}")
		case strings.HasPrefix(inside, `"`):
			literal, err := strconv.Unquote(inside)
			if err != nil {
				return nil, "", fmt.Errorf("jsonpath: %s is not a quoted text", inside)
			}
			parts = append(parts, part{text: literal})
		case strings.HasPrefix(inside, "range "):
			p, err := parsePath(strings.TrimSpace(inside[len("range "):]))
			if err != nil {
				return nil, "", err
			}
			each, rest, err := parseParts(text, true)
			if err != nil {
				return nil, "", err
			}
			parts, text = append(parts, part{path: p, each: append([]part{}, each...)}), rest
		default:
			p, err := parsePath(inside)
			if err != nil {
				return nil, "", err
			}
			parts = append(parts, part{path: p})
		}
	}
	if inRange {
		return nil, "", fmt.Errorf("jsonpath: {range} without {end}")
	}
	return parts, "", nil
}

func render(b *strings.Builder, parts []part, v any) {
	for _, p := range parts {
		switch {
		case p.each != nil:
			for _, item := range p.path.of([]any{v}) {
				render(b, p.each, item)
			}
		case p.path != nil:
			b.WriteString(texts(p.path.of([]any{v}), " "))
		default:
			b.WriteString(p.text)
		}
	}
}

// path is the steps from a value to others: a name of a field, the index of an item, or a step to all of them.
type path []step

type step struct {
	name  string
	index int
	kind  byte // 'n' for a name, 'i' for an index, '*' for all
}

func parsePath(text string) (path, error) {
	p := path{}
	wrong := func() (path, error) {
		return nil, fmt.Errorf("%q is not a path such as .status.phase or .items[*].name", text)
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(text, "$"), "@")
	for rest != "" && rest != "." {
		switch {
		case strings.HasPrefix(rest, ".["):
			rest = rest[1:]
		case rest[0] == '[':
			inside, after, ok := strings.Cut(rest[1:], "]")
			if !ok {
				return wrong()
			}
			rest = after
			if inside == "*" {
				p = append(p, step{kind: '*'})
			} else if i, err := strconv.Atoi(inside); err == nil {
				p = append(p, step{kind: 'i', index: i})
			} else if len(inside) > 2 && inside[0] == inside[len(inside)-1] && strings.ContainsRune(`'"`, rune(inside[0])) {
				p = append(p, step{kind: 'n', name: inside[1 : len(inside)-1]})
			} else {
				return wrong()
			}
		case rest[0] == '.' || len(p) == 0:
			rest = strings.TrimPrefix(rest, ".")
			var name strings.Builder
			for rest != "" && rest[0] != '.' && rest[0] != '[' {
				if rest[0] == '\\' && len(rest) > 1 { // the name of a label has dots
					rest = rest[1:]
				}
				name.WriteByte(rest[0])
				rest = rest[1:]
			}
			switch name.String() {
			case "":
				return wrong()
			case "*":
				p = append(p, step{kind: '*'})
			default:
				p = append(p, step{kind: 'n', name: name.String()})
			}
		default:
			return wrong()
		}
	}
	return p, nil
}

func (p path) of(values []any) []any {
	for _, s := range p {
		var next []any
		for _, v := range values {
			next = append(next, s.of(v)...)
		}
		values = next
	}
	return values
}

func (s step) of(v any) []any {
	switch at := v.(type) {
	case map[string]any:
		if s.kind == 'n' {
			if found, ok := at[s.name]; ok && found != nil {
				return []any{found}
			}
		}
		if s.kind == '*' {
			var all []any
			for _, name := range sortedKeys(at) {
				all = append(all, at[name])
			}
			return all
		}
	case []any:
		if s.kind == '*' {
			return at
		}
		if i := s.index; s.kind == 'i' {
			if i < 0 {
				i += len(at)
			}
			if i >= 0 && i < len(at) {
				return []any{at[i]}
			}
		}
	}
	return nil
}

func sortedKeys(m map[string]any) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func texts(values []any, separator string) string {
	all := make([]string, 0, len(values))
	for _, v := range values {
		all = append(all, textOf(v))
	}
	return strings.Join(all, separator)
}

func textOf(v any) string {
	switch t := v.(type) {
	case nil:
		return ""
	case string:
		return t
	case json.Number:
		return t.String()
	case bool:
		return strconv.FormatBool(t)
	default:
		raw, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(raw)
	}
}
