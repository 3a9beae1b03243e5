// SPDX-License-Identifier: Apache-2.0

package openapi

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

//go:embed openapi.yaml
var source []byte

// Document is the contract as generators of clients read it: without the operations for agents, without anchors, and without what only the
// generator of this package understands.
type Document struct{ JSON, YAML []byte }

// ForClients returns the contract for generators of clients.
var ForClients = sync.OnceValues(func() (Document, error) { return published(source) })

func published(source []byte) (Document, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(source, &doc); err != nil {
		return Document{}, fmt.Errorf("read the contract: %w", err)
	}
	root := withoutAliases(doc.Content[0])
	paths, components := field(root, "paths"), field(root, "components")
	for path, item := range fields(paths) {
		for method, operation := range fields(item) {
			if tags := field(operation, "tags"); tags != nil && slices.ContainsFunc(tags.Content, func(n *yaml.Node) bool { return n.Value == agentTag }) {
				remove(item, method)
			}
		}
		if len(item.Content) == 0 {
			remove(paths, path)
		}
	}
	tags := field(root, "tags")
	tags.Content = slices.DeleteFunc(tags.Content, func(n *yaml.Node) bool { return field(n, "name").Value == agentTag })
	remove(field(components, "securitySchemes"), "nodeCertificate")
	dropUnused(root, components)
	var text bytes.Buffer
	e := yaml.NewEncoder(&text)
	e.SetIndent(2)
	if err := e.Encode(root); err != nil {
		return Document{}, err
	}
	var value any
	if err := root.Decode(&value); err != nil {
		return Document{}, err
	}
	encoded, err := json.Marshal(value)
	return Document{JSON: encoded, YAML: text.Bytes()}, err
}

// agentTag is the tag of the operations that only the agents of nodes call.
const agentTag = "agent"

// withoutAliases returns a copy in which every alias is what it stands for. It leaves out comments and the instructions for oapi-codegen.
func withoutAliases(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	plain := &yaml.Node{Kind: n.Kind, Style: n.Style, Tag: n.Tag, Value: n.Value}
	for i := 0; i < len(n.Content); i++ {
		if n.Kind == yaml.MappingNode && i%2 == 0 && (strings.HasPrefix(n.Content[i].Value, "x-go-") || n.Content[i].Value == "x-omitempty") {
			i++
			continue
		}
		plain.Content = append(plain.Content, withoutAliases(n.Content[i]))
	}
	return plain
}

// dropUnused removes components that nothing refers to any more.
func dropUnused(root, components *yaml.Node) {
	for {
		used := map[string]bool{}
		references(root, used)
		removed := false
		for section, entries := range fields(components) {
			if section == "securitySchemes" {
				continue
			}
			for name := range fields(entries) {
				if !used["#/components/"+section+"/"+name] {
					remove(entries, name)
					removed = true
				}
			}
		}
		if !removed {
			return
		}
	}
}

func references(n *yaml.Node, to map[string]bool) {
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && c.Value == "$ref" {
			to[n.Content[i+1].Value] = true
		}
		references(c, to)
	}
}

// fields returns the fields of a mapping.
func fields(n *yaml.Node) map[string]*yaml.Node {
	all := map[string]*yaml.Node{}
	if n.Kind == yaml.MappingNode {
		for i := 0; i < len(n.Content); i += 2 {
			all[n.Content[i].Value] = n.Content[i+1]
		}
	}
	return all
}

func field(n *yaml.Node, name string) *yaml.Node { return fields(n)[name] }

func remove(n *yaml.Node, name string) {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			n.Content = slices.Delete(n.Content, i, i+2)
			return
		}
	}
}
