// SPDX-License-Identifier: Apache-2.0

package print

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	kjson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/util/jsonpath"
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
		t, err := parseTemplate(text)
		if err != nil {
			return true, err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, tree); err != nil {
			return true, err
		}
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
	return p.columns(columns, items)
}

type column struct {
	title string
	path  *jsonpath.JSONPath
}

func (p Printer) columns(columns []column, items []any) (bool, error) {
	rows := make([][]string, 0, len(items)+1)
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
			values, err := find(c.path, item)
			if err != nil {
				return true, err
			}
			texts := make([]string, 0, len(values))
			for _, v := range values {
				texts = append(texts, Clean(textOf(v)))
			}
			row = append(row, cmp.Or(strings.Join(texts, ","), "<none>"))
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
	at, err := parsePath(path)
	if err != nil {
		return err
	}
	type keyed struct {
		item T
		key  any
	}
	all := make([]keyed, len(items))
	for i, item := range items {
		tree, err := treeOf(item)
		if err != nil {
			return err
		}
		found, err := find(at, tree)
		if err != nil {
			return err
		}
		if all[i].item = item; len(found) > 0 {
			all[i].key = found[0]
		}
	}
	slices.SortStableFunc(all, func(a, b keyed) int { return compare(a.key, b.key) })
	for i := range all {
		items[i] = all[i].item
	}
	return nil
}

func compare(a, b any) int {
	x, isX := number(a)
	y, isY := number(b)
	if isX && isY {
		return cmp.Compare(x, y)
	}
	return cmp.Compare(textOf(a), textOf(b))
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	default:
		return 0, false
	}
}

// treeOf returns a value as its JSON has it.
func treeOf(v any) (tree any, _ error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return tree, kjson.Unmarshal(raw, &tree)
}

func parseColumns(text string) ([]column, error) {
	var all []column
	for spec := range strings.SplitSeq(text, ",") {
		title, where, ok := strings.Cut(spec, ":")
		if !ok || title == "" || where == "" {
			return nil, fmt.Errorf("custom-columns: %q is not TITLE:PATH, such as NAME:.name", spec)
		}
		p, err := parsePath(where)
		if err != nil {
			return nil, err
		}
		all = append(all, column{title, p})
	}
	return all, nil
}

func parseTemplate(text string) (*jsonpath.JSONPath, error) {
	p := jsonpath.New("output").AllowMissingKeys(true)
	if err := p.Parse(text); err != nil {
		return nil, fmt.Errorf("jsonpath: %q is not a template such as {.items[*].name}: %w", text, err)
	}
	return p, nil
}

// parsePath reads a path as kubectl does: .name, name and {.name} are the same.
func parsePath(text string) (*jsonpath.JSONPath, error) {
	inside := strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}")
	p := jsonpath.New("path").AllowMissingKeys(true)
	if err := p.Parse("{." + strings.TrimPrefix(inside, ".") + "}"); err != nil {
		return nil, fmt.Errorf("%q is not a path such as .status.phase: %w", text, err)
	}
	return p, nil
}

func find(p *jsonpath.JSONPath, tree any) (values []any, _ error) {
	found, err := p.FindResults(tree)
	if err != nil {
		return nil, err
	}
	for _, v := range slices.Concat(found...) {
		values = append(values, v.Interface())
	}
	return values, nil
}

func textOf(v any) string {
	switch t := v.(type) {
	case nil:
		return ""
	case string:
		return t
	case map[string]any, []any:
		raw, err := json.Marshal(t)
		if err != nil {
			return ""
		}
		return string(raw)
	default:
		return fmt.Sprint(t)
	}
}
