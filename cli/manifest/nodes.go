// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"maps"
	"slices"

	"husk/cli/manifest/tree"
	"husk/openapi"
)

type (
	kubernetesNodeAffinity struct {
		Required struct {
			Terms []kubernetesNodeTerm `json:"nodeSelectorTerms"`
		} `json:"requiredDuringSchedulingIgnoredDuringExecution"`
		Preferred []struct {
			Weight int                `json:"weight"`
			Term   kubernetesNodeTerm `json:"preference"`
		} `json:"preferredDuringSchedulingIgnoredDuringExecution"`
	}
	kubernetesNodeTerm struct {
		MatchExpressions []kubernetesRequirement `json:"matchExpressions"`
	}
	kubernetesRequirement struct {
		Key      string   `json:"key"`
		Operator string   `json:"operator"`
		Values   []string `json:"values"`
	}
)

// one returns the label and the value of a requirement that allows one value.
func (r kubernetesRequirement) one() (label, value string, ok bool) {
	if r.Operator != "In" || len(r.Values) != 1 {
		return "", "", false
	}
	return r.Key, r.Values[0], true
}

// every has the labels that all nodes of Husk have.
var every = map[string]string{
	"kubernetes.io/os": "linux", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "beta.kubernetes.io/arch": "amd64",
}

// nodes translates the requirements and preferences for the node.
func (t *translation) nodes(s *openapi.Scheduling) {
	required, preferred := openapi.NodeSelector{}, openapi.NodeSelector{}
	for _, label := range slices.Sorted(maps.Keys(t.pod.Spec.NodeSelector)) {
		t.require(required, label, t.pod.Spec.NodeSelector[label], tree.Join("spec.nodeSelector", label))
	}
	switch name := t.pod.Spec.NodeName; {
	case name == "":
	case fieldOf(fieldOf(t.root, "metadata"), "uid") != nil:
		t.warn("spec.nodeName", "ignored: this is the node where the pod ran")
	default:
		t.require(required, "node", name, "spec.nodeName")
	}
	t.affinityToNodes(required, preferred)
	t.origins["spec.scheduling.nodeSelector"] = "spec.nodeSelector"
	if len(required) > 0 {
		s.NodeSelector = &required
	}
	if len(preferred) > 0 {
		s.PreferredNodeSelector = &preferred
	}
}

// require adds a label that the node needs.
func (t *translation) require(required openapi.NodeSelector, label, value, at string) {
	if of, known := every[label]; known {
		if value != of {
			t.refuse(at, "all nodes have %s: %s", label, of)
		}
		return
	}
	label = topologyKey(label)
	if before, twice := required[label]; twice && before != value {
		t.refuse(at, "another field requires %s: %s", label, before)
		return
	}
	required[label] = value
}

func (t *translation) affinityToNodes(required, preferred openapi.NodeSelector) {
	affinity := t.pod.Spec.Affinity.Node
	const at = "spec.affinity.nodeAffinity."
	terms := at + "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
	if len(affinity.Required.Terms) > 1 {
		t.refuse(terms, "only one term is supported; give the nodes a label in common, and use it in nodeSelector")
		return
	}
	for i, term := range affinity.Required.Terms {
		for j, r := range term.MatchExpressions {
			path := fmt.Sprintf("%s[%d].matchExpressions[%d]", terms, i, j)
			label, value, ok := r.one()
			if !ok {
				t.refuse(path, "only the operator In with one value is supported; give the nodes a label in common, and use it in nodeSelector")
				continue
			}
			t.require(required, label, value, path)
		}
	}
	for i, p := range affinity.Preferred {
		path := fmt.Sprintf("%spreferredDuringSchedulingIgnoredDuringExecution[%d]", at, i)
		for _, r := range p.Term.MatchExpressions {
			label, value, ok := r.one()
			if ok && every[label] == value {
				continue
			}
			label = topologyKey(label)
			before, twice := preferred[label]
			if !ok || twice && before != value {
				t.warn(path, "ignored: a preference of Husk is one value for each label")
				break
			}
			preferred[label] = value
		}
	}
}
