// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"

	"gopkg.in/yaml.v3"

	"husk/cli/manifest/instead"
)

// list reads the items of a List, such as the output of kubectl get.
func list(d *decoder, node *yaml.Node) ([]Document, error) {
	var items *yaml.Node
	d.pairs(node, "", func(key, value *yaml.Node) {
		if key.Value == "items" {
			items = resolve(value)
		}
	})
	if d.err() == nil && (items == nil || items.Kind != yaml.SequenceNode) {
		d.refuse("items", "expected a list")
	}
	if d.err() != nil {
		return nil, d.err()
	}
	var docs []Document
	for i, item := range items.Content {
		item = resolve(item)
		if kind := fieldOf(item, "kind"); kind != nil && kind.Value == "List" {
			d.fail(item, fmt.Sprintf("items[%d]", i), "a List cannot contain another List; put its items here")
			continue
		}
		found, err := read(d.file, item)
		if p, ok := errors.AsType[MistakeErrors](err); ok {
			d.problems = append(d.problems, p...)
			continue
		}
		docs = append(docs, found...)
	}
	return docs, d.err()
}

// otherKind returns why a document of this kind is refused.
func otherKind(h header) string {
	what := fmt.Sprintf("Husk has no %s (%s)", h.Kind, h.APIVersion)
	if other, known := instead.Of[h.Kind]; known {
		return what + ": " + other
	}
	return fmt.Sprintf("%s; it accepts Pod, Volume, Image, Config, Secret, Network, Service, Ingress, Address and SecurityGroup of %s, and Pod, PersistentVolumeClaim, ConfigMap, Secret, Service and List of v1, and Ingress and NetworkPolicy of networking.k8s.io/v1", what, APIVersion)
}
