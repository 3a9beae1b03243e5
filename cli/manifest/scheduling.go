// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"

	"gopkg.in/yaml.v3"

	"husk/openapi"
)

// The scheduling fields of a Kubernetes Pod that are accepted.
type (
	kubernetesScheduling struct {
		NodeSelector map[string]string      `json:"nodeSelector"`
		Priority     *int                   `json:"priority"`
		Tolerations  []kubernetesToleration `json:"tolerations"`
		Spread       []kubernetesSpread     `json:"topologySpreadConstraints"`
		Affinity     struct {
			Affinity     kubernetesRequired `json:"podAffinity"`
			AntiAffinity kubernetesRequired `json:"podAntiAffinity"`
		} `json:"affinity"`
	}
	kubernetesToleration struct {
		Key      string `json:"key"`
		Operator string `json:"operator"`
		Value    string `json:"value"`
		Effect   string `json:"effect"`
	}
	kubernetesSpread struct {
		MaxSkew           *int               `json:"maxSkew"`
		TopologyKey       string             `json:"topologyKey"`
		WhenUnsatisfiable string             `json:"whenUnsatisfiable"`
		Selector          kubernetesSelector `json:"labelSelector"`
	}
	kubernetesRequired struct {
		Terms []struct {
			TopologyKey string             `json:"topologyKey"`
			Selector    kubernetesSelector `json:"labelSelector"`
		} `json:"requiredDuringSchedulingIgnoredDuringExecution"`
	}
	kubernetesSelector struct {
		MatchLabels map[string]string `json:"matchLabels"`
	}
)

// topologyKeys translate the well-known node labels of Kubernetes.
var topologyKeys = map[string]string{"kubernetes.io/hostname": "node", "topology.kubernetes.io/zone": "zone", "topology.kubernetes.io/region": "region"}

// scheduling translates the scheduling of a Kubernetes Pod. It is nil if there is none.
func (p kubernetesScheduling) scheduling(d *decoder, node *yaml.Node) *openapi.Scheduling {
	var s openapi.Scheduling
	if len(p.NodeSelector) > 0 {
		selector := openapi.NodeSelector{}
		for k, v := range p.NodeSelector {
			selector[topologyKey(k)] = v
		}
		s.NodeSelector = &selector
	}
	s.Priority = p.Priority
	var tolerations []openapi.Taint
	for i, t := range p.Tolerations {
		switch {
		case t.Effect != "" && t.Effect != "NoSchedule":
			d.fail(node, fmt.Sprintf("spec.tolerations[%d].effect", i), "only NoSchedule is supported: taints do not evict running pods")
		case t.Operator == "Exists":
			tolerations = append(tolerations, t.Key)
		case t.Value != "":
			tolerations = append(tolerations, t.Key+"="+t.Value)
		default:
			tolerations = append(tolerations, t.Key)
		}
	}
	if tolerations != nil {
		s.Tolerations = &tolerations
	}
	var rules []openapi.SchedulingRule
	rule := func(kind openapi.SchedulingRuleKind, path, topology string, selector kubernetesSelector, skew *int) {
		if len(selector.MatchLabels) != 1 {
			d.fail(node, path+".labelSelector", "matchLabels must have exactly one label")
			return
		}
		for k, v := range selector.MatchLabels {
			rules = append(rules, openapi.SchedulingRule{Kind: kind, Label: k, Value: &v, TopologyKey: topologyKey(topology), MaxSkew: skew})
		}
	}
	for i, c := range p.Spread {
		path := fmt.Sprintf("spec.topologySpreadConstraints[%d]", i)
		if c.WhenUnsatisfiable == "ScheduleAnyway" {
			d.fail(node, path+".whenUnsatisfiable", "a spread is always required; use DoNotSchedule, or leave the constraint out")
		}
		rule(openapi.Spread, path, c.TopologyKey, c.Selector, c.MaxSkew)
	}
	for i, t := range p.Affinity.Affinity.Terms {
		rule(openapi.Affinity, fmt.Sprintf("spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[%d]", i), t.TopologyKey, t.Selector, nil)
	}
	for i, t := range p.Affinity.AntiAffinity.Terms {
		rule(openapi.AntiAffinity, fmt.Sprintf("spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[%d]", i), t.TopologyKey, t.Selector, nil)
	}
	if rules != nil {
		s.Rules = &rules
	}
	if s == (openapi.Scheduling{}) {
		return nil
	}
	return &s
}

func topologyKey(key string) string {
	if ours, known := topologyKeys[key]; known {
		return ours
	}
	return key
}
