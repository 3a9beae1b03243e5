// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Locate returns the position and the path of the document's field that a field of the API's request comes from.
func (d Document) Locate(field string) (where, path string) {
	path = field
	for prefix := field; prefix != ""; prefix = prefix[:max(strings.LastIndexAny(prefix, ".["), 0)] {
		if origin, known := d.origins[prefix]; known {
			path = origin + field[len(prefix):]
			break
		}
	}
	return fmt.Sprintf("%s:%d", d.file, nodeAt(d.root, path).Line), path
}

// step is one part of a path: a name, a name in quotes, or an index.
var step = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|\[\d+\]|[^.\[\]"]+`)

// nodeAt returns the node of a document at a path: the name of the field, or the item of a list. If the document does not have the field, it returns
// the closest field around it that the document has.
func nodeAt(root *yaml.Node, path string) *yaml.Node {
	at, value := root, resolve(root)
	for _, part := range step.FindAllString(path, -1) {
		next := child(value, part)
		if next == nil {
			return at
		}
		at = next
		if value.Kind == yaml.MappingNode {
			at, next = next, valueOf(value, next)
		}
		value = resolve(next)
	}
	return at
}

// child returns the key of a field or the item of a list.
func child(value *yaml.Node, part string) *yaml.Node {
	if index, isIndex := strings.CutPrefix(part, "["); isIndex {
		i, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
		if err != nil || value.Kind != yaml.SequenceNode || i >= len(value.Content) {
			return nil
		}
		return value.Content[i]
	}
	if value.Kind != yaml.MappingNode {
		return nil
	}
	if name, err := strconv.Unquote(part); err == nil {
		part = name
	}
	for i := 0; i+1 < len(value.Content); i += 2 {
		if resolve(value.Content[i]).Value == part {
			return value.Content[i]
		}
	}
	return nil
}

func valueOf(mapping, key *yaml.Node) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i] == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}
