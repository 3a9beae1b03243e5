// SPDX-License-Identifier: Apache-2.0

package print

import (
	"bytes"
	"encoding/json"
)

// apiVersion is that of Husk's own documents.
const apiVersion = "husk/v1"

// document is an object with the header of a document, so that husk apply and husk diff accept what other commands print.
type document struct {
	kind   string
	object any
}

// MarshalJSON implements [json.Marshaler].
func (d document) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(d.object); err != nil {
		return nil, err
	}
	object := bytes.TrimSpace(b.Bytes())
	var has struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(object, &has); err != nil {
		return nil, err
	}
	header := `{"apiVersion":"` + apiVersion + `",`
	if has.Kind == "" {
		header += `"kind":"` + d.kind + `",`
	}
	return append([]byte(header), object[1:]...), nil
}

// documents is a list of documents.
type documents struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Items      []document `json:"items"`
}

// value is what JSON, YAML and templates show of an object.
func (v View[T]) value(item T) any {
	if v.Document == "" {
		return item
	}
	return document{v.Document, item}
}

// values is what JSON, YAML and templates show of a list.
func (v View[T]) values(p Printer, items []T) (printed bool, _ error) {
	if v.Document == "" {
		return List(p, items)
	}
	list := documents{apiVersion, "List", []document{}}
	for _, item := range items {
		list.Items = append(list.Items, document{v.Document, item})
	}
	return p.Value(list)
}
