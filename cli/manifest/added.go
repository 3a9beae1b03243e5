// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"regexp"
	"slices"

	"gopkg.in/yaml.v3"
)

// addedVolume matches the names of the volumes with credentials that Kubernetes adds to every pod.
var addedVolume = regexp.MustCompile(`^kube-api-access-[a-z0-9]{5}$|-token-[a-z0-9]{5}$`)

// addedFor are the tolerations that Kubernetes adds to every pod.
var addedFor = map[string]bool{"node.kubernetes.io/not-ready": true, "node.kubernetes.io/unreachable": true}

// withoutAddedVolumes empties the volumes that Kubernetes has added to the document of a pod, except for their names, and returns the names.
func withoutAddedVolumes(root *yaml.Node) map[string]bool {
	hidden := map[string]bool{}
	volumes := fieldOf(fieldOf(root, "spec"), "volumes")
	if volumes == nil || volumes.Kind != yaml.SequenceNode {
		return hidden
	}
	for _, item := range volumes.Content {
		item = resolve(item)
		name := fieldOf(item, "name")
		if name == nil || !addedVolume.MatchString(name.Value) || fieldOf(item, "projected") == nil && fieldOf(item, "secret") == nil {
			continue
		}
		hidden[name.Value] = true
		for i := 0; i+1 < len(item.Content); i += 2 {
			if item.Content[i].Value == "name" {
				item.Content = item.Content[i : i+2]
				break
			}
		}
	}
	return hidden
}

// fieldOf returns the value of a field, and nil if there is none.
func fieldOf(mapping *yaml.Node, name string) *yaml.Node {
	if mapping == nil {
		return nil
	}
	key := child(resolve(mapping), name)
	if key == nil || resolve(mapping).Kind != yaml.MappingNode {
		return nil
	}
	return resolve(valueOf(resolve(mapping), key))
}

// contains reports whether a document has this text as a value. Aliases are not followed: what they name is in the document, too.
func contains(node *yaml.Node, value string) bool {
	return node.Kind == yaml.ScalarNode && node.Value == value ||
		slices.ContainsFunc(node.Content, func(n *yaml.Node) bool { return contains(n, value) })
}
