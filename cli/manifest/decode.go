// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"husk/cli/manifest/tree"
)

// decoder decodes a YAML tree into structs by their JSON names. It continues after a mistake, so that all mistakes are reported at once.
type decoder struct {
	file     string
	root     *yaml.Node // the document
	problems MistakeErrors
	warnings []string
	visited  int
	// unexpected judges a field that the struct does not have, by its path without indexes. If it is nil, there are no such fields.
	unexpected func(path string, value *yaml.Node) (refusal, warning string)
}

const (
	// maxNodes is the maximum number of nodes in a document. Aliases can make a large tree from a small file.
	maxNodes = 100_000
	maxDepth = 32
)

func (d *decoder) err() error {
	if len(d.problems) == 0 {
		return nil
	}
	d.byLine(d.problems)
	return d.problems
}

// byLine sorts messages by their lines.
func (d *decoder) byLine(messages []string) {
	line := func(message string) int {
		number, _, _ := strings.Cut(strings.TrimPrefix(message, d.file+":"), ":")
		n, err := strconv.Atoi(number)
		if err != nil {
			return 0
		}
		return n
	}
	slices.SortStableFunc(messages, func(a, b string) int { return line(a) - line(b) })
}

func (d *decoder) fail(node *yaml.Node, path, format string, args ...any) {
	// A field of the pod can be wrong for each of its containers.
	if text := d.at(node, path) + fmt.Sprintf(format, args...); !slices.Contains(d.problems, text) {
		d.problems = append(d.problems, text)
	}
}

// refuse reports a mistake in the field at this path of the document.
func (d *decoder) refuse(path, format string, args ...any) {
	d.fail(nodeAt(d.root, path), path, format, args...)
}

// warn reports that Husk ignores the field at this path of the document.
func (d *decoder) warn(path, format string, args ...any) {
	d.warnings = append(d.warnings, d.at(nodeAt(d.root, path), path)+fmt.Sprintf(format, args...))
}

// at returns the beginning of a message.
func (d *decoder) at(node *yaml.Node, path string) string {
	where := fmt.Sprintf("%s:%d: ", d.file, node.Line)
	if path != "" {
		where += path + ": "
	}
	return where
}

// strict decodes a whole document. A field that the struct does not have is a mistake.
func (d *decoder) strict(node *yaml.Node, into any) {
	d.decode(node, reflect.ValueOf(into).Elem(), "", true, 0)
}

// loose decodes the fields of the struct and ignores others.
func (d *decoder) loose(node *yaml.Node, into any) {
	if resolve(node).Kind != yaml.MappingNode {
		d.fail(node, "", "expected an object")
		return
	}
	d.decode(node, reflect.ValueOf(into).Elem(), "", false, 0)
}

func resolve(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}

// ignored is a part of a document that nobody reads.
type ignored struct{}

// scalar is a type with its own syntax in a document.
type scalar interface {
	// set reads the text. Its error does not repeat the text.
	set(text string) error
}

func (d *decoder) decode(node *yaml.Node, into reflect.Value, path string, strict bool, depth int) {
	node = resolve(node)
	if d.visited++; d.visited > maxNodes || depth > maxDepth {
		if d.visited <= maxNodes+1 || depth == maxDepth+1 {
			d.fail(node, path, "the document is too large or too deeply nested")
		}
		d.visited = maxNodes + 1
		return
	}
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return
	}
	if into.Kind() == reflect.Pointer {
		if into.IsNil() {
			into.Set(reflect.New(into.Type().Elem()))
		}
		into = into.Elem()
	}
	if into.Type() == reflect.TypeFor[ignored]() {
		return
	}
	if into.CanAddr() {
		switch v := into.Addr().Interface().(type) {
		case scalar:
			if node.Kind != yaml.ScalarNode {
				d.fail(node, path, "expected a single value")
			} else if err := v.set(node.Value); err != nil {
				d.fail(node, path, "%s", err)
			}
			return
		case encoding.TextUnmarshaler:
			if node.Kind != yaml.ScalarNode || v.UnmarshalText([]byte(node.Value)) != nil {
				d.fail(node, path, "this is not a %s", strings.ToLower(into.Type().Name()))
			}
			return
		}
	}
	switch into.Kind() { //nolint:exhaustive // the structs of this package and of the contract have no other kinds
	case reflect.Struct:
		d.object(node, into, path, strict, depth)
	case reflect.Map:
		d.mapping(node, into, path, strict, depth)
	case reflect.Slice:
		d.list(node, into, path, strict, depth)
	default:
		d.value(node, into, path)
	}
}

// fields returns the settable fields of a struct by their JSON names, including those of embedded structs.
func fields(into reflect.Value) map[string]reflect.Value {
	out := map[string]reflect.Value{}
	for i := range into.NumField() {
		f := into.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			maps.Copy(out, fields(into.Field(i)))
		case name != "" && name != "-" && f.IsExported():
			out[name] = into.Field(i)
		}
	}
	return out
}

func (d *decoder) object(node *yaml.Node, into reflect.Value, path string, strict bool, depth int) {
	known := fields(into)
	d.pairs(node, path, func(key, value *yaml.Node) {
		at := tree.Join(path, key.Value)
		field, ok := known[key.Value]
		switch {
		case ok:
			d.decode(value, field, at, strict, depth+1)
		case strict:
			d.unknown(key, resolve(value), at)
		}
	})
}

var indexes = regexp.MustCompile(`\[\d+\]`)

func (d *decoder) unknown(key, value *yaml.Node, path string) {
	if d.unexpected == nil {
		d.fail(key, path, "there is no such field")
		return
	}
	refusal, warning := d.unexpected(indexes.ReplaceAllString(path, "[]"), value)
	switch {
	case refusal != "":
		d.fail(key, path, "%s", refusal)
	case warning != "":
		d.warnings = append(d.warnings, d.at(key, path)+warning)
	}
}

// shown judges the fields of a document that a command may have printed: what the API shows of the object, and nobody can set, is ignored.
func shown(object any) func(path string, value *yaml.Node) (refusal, warning string) {
	known := fields(reflect.ValueOf(object))
	return func(path string, _ *yaml.Node) (refusal, warning string) {
		if _, ok := known[path]; ok {
			return "", ""
		}
		return "there is no such field", ""
	}
}

// pairs iterates over the fields of an object and refuses duplicates.
func (d *decoder) pairs(node *yaml.Node, path string, take func(key, value *yaml.Node)) {
	if node.Kind != yaml.MappingNode {
		d.fail(node, path, "expected an object")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := resolve(node.Content[i])
		switch {
		case key.Kind != yaml.ScalarNode:
			d.fail(key, path, "the name of a field must be a string")
		case key.Tag == "!!merge":
			d.fail(key, path, "<< is not supported; write the fields out")
		case seen[key.Value]:
			d.fail(key, tree.Join(path, key.Value), "duplicate field")
		default:
			seen[key.Value] = true
			take(key, node.Content[i+1])
		}
	}
}

func (d *decoder) mapping(node *yaml.Node, into reflect.Value, path string, strict bool, depth int) {
	into.Set(reflect.MakeMap(into.Type()))
	d.pairs(node, path, func(key, value *yaml.Node) {
		v := reflect.New(into.Type().Elem()).Elem()
		d.decode(value, v, tree.Join(path, key.Value), strict, depth+1)
		into.SetMapIndex(reflect.ValueOf(key.Value).Convert(into.Type().Key()), v)
	})
}

func (d *decoder) list(node *yaml.Node, into reflect.Value, path string, strict bool, depth int) {
	if node.Kind != yaml.SequenceNode {
		d.fail(node, path, "expected a list")
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content)))
	for i, item := range node.Content {
		d.decode(item, into.Index(i), fmt.Sprintf("%s[%d]", path, i), strict, depth+1)
	}
}

func (d *decoder) value(node *yaml.Node, into reflect.Value, path string) {
	if node.Kind != yaml.ScalarNode {
		d.fail(node, path, "expected a single value")
		return
	}
	switch into.Kind() { //nolint:exhaustive // as in decode
	case reflect.String:
		if node.Tag != "!!str" && node.Tag != "!!timestamp" {
			d.fail(node, path, "expected a string; put %s in quotes", node.Value)
			return
		}
		into.SetString(node.Value)
	case reflect.Bool:
		if node.Tag != "!!bool" || node.Value != "true" && node.Value != "false" {
			d.fail(node, path, "expected true or false")
			return
		}
		into.SetBool(node.Value == "true")
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(node.Value, 10, 64)
		if node.Tag != "!!int" || err != nil || into.OverflowInt(n) {
			d.fail(node, path, "expected an integer")
			return
		}
		into.SetInt(n)
	default:
		panic("manifest: cannot decode into " + into.Type().String()) // a struct has a field whose kind this switch does not handle
	}
}
