// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"

	"husk/openapi"
)

// The scheduling fields of a Kubernetes Pod that are accepted.
type (
	kubernetesScheduling struct {
		NodeName          string                 `json:"nodeName"`
		NodeSelector      map[string]string      `json:"nodeSelector"`
		Priority          *int                   `json:"priority"`
		PriorityClassName string                 `json:"priorityClassName"`
		Tolerations       []kubernetesToleration `json:"tolerations"`
		Spread            []kubernetesSpread     `json:"topologySpreadConstraints"`
		Affinity          struct {
			Node         kubernetesNodeAffinity `json:"nodeAffinity"`
			Affinity     kubernetesPodAffinity  `json:"podAffinity"`
			AntiAffinity kubernetesPodAffinity  `json:"podAntiAffinity"`
		} `json:"affinity"`
	}
	kubernetesToleration struct {
		Key      string `json:"key"`
		Operator string `json:"operator"`
		Value    string `json:"value"`
		Effect   string `json:"effect"`
		Seconds  *int64 `json:"tolerationSeconds"`
	}
	kubernetesSpread struct {
		MaxSkew           *int               `json:"maxSkew"`
		TopologyKey       string             `json:"topologyKey"`
		WhenUnsatisfiable string             `json:"whenUnsatisfiable"`
		Selector          kubernetesSelector `json:"labelSelector"`
	}
	kubernetesPodAffinity struct {
		Required []struct {
			TopologyKey string             `json:"topologyKey"`
			Selector    kubernetesSelector `json:"labelSelector"`
		} `json:"requiredDuringSchedulingIgnoredDuringExecution"`
		Preferred []ignored `json:"preferredDuringSchedulingIgnoredDuringExecution"`
	}
	kubernetesSelector struct {
		MatchLabels      map[string]string       `json:"matchLabels"`
		MatchExpressions []kubernetesRequirement `json:"matchExpressions"`
	}
)

// topologyKeys translate the well-known node labels of Kubernetes.
var topologyKeys = map[string]string{"kubernetes.io/hostname": "node", "topology.kubernetes.io/zone": "zone", "topology.kubernetes.io/region": "region"}

// scheduling translates the scheduling of a Kubernetes Pod. It is nil if there is none.
func (t *translation) scheduling() *openapi.Scheduling {
	s := openapi.Scheduling{Priority: t.pod.Spec.Priority}
	switch class := t.pod.Spec.PriorityClassName; {
	case class != "" && s.Priority == nil:
		t.refuse("spec.priorityClassName", "set the field priority to a number instead")
	case class != "":
		t.warn("spec.priorityClassName", "ignored: the field priority decides")
	}
	t.nodes(&s)
	t.tolerations(&s)
	t.rules(&s)
	t.origins["spec.scheduling"] = "spec"
	t.origins["spec.scheduling.priority"] = "spec.priority"
	if s == (openapi.Scheduling{}) {
		return nil
	}
	return &s
}

func (t *translation) tolerations(s *openapi.Scheduling) {
	var out []openapi.Taint
	for i, toleration := range t.pod.Spec.Tolerations {
		at := fmt.Sprintf("spec.tolerations[%d]", i)
		text := toleration.Key
		if toleration.Operator != "Exists" && toleration.Value != "" {
			text += "=" + toleration.Value
		}
		switch {
		case addedFor[toleration.Key] && toleration.Effect == "NoExecute":
			continue
		case toleration.Key == "":
			t.refuse(at+".key", "a toleration names one taint; add the key")
		case toleration.Operator != "" && toleration.Operator != "Exists" && toleration.Operator != "Equal":
			t.refuse(at+".operator", "only Exists and Equal are supported")
		case toleration.Effect == "PreferNoSchedule":
			t.warn(at, "ignored: every taint of a node is of the effect NoSchedule")
			continue
		case toleration.Effect == "NoExecute":
			t.refuse(at+".effect", "only NoSchedule is supported: taints do not evict running pods")
		}
		t.origins[fmt.Sprintf("spec.scheduling.tolerations[%d]", len(out))] = at
		out = append(out, text)
	}
	if out != nil {
		s.Tolerations = &out
	}
}

func (t *translation) rules(s *openapi.Scheduling) {
	var rules []openapi.SchedulingRule
	rule := func(kind openapi.SchedulingRuleKind, at, topology string, selector kubernetesSelector, skew *int) {
		label, value, ok := selector.one()
		if !ok {
			t.refuse(at+".labelSelector", "the selector must have exactly one label with one value")
			return
		}
		ours := fmt.Sprintf("spec.scheduling.rules[%d]", len(rules))
		t.origins[ours], t.origins[ours+".label"], t.origins[ours+".value"] = at, at+".labelSelector", at+".labelSelector"
		rules = append(rules, openapi.SchedulingRule{Kind: kind, Label: label, Value: &value, TopologyKey: topologyKey(topology), MaxSkew: skew})
	}
	for i, c := range t.pod.Spec.Spread {
		at := fmt.Sprintf("spec.topologySpreadConstraints[%d]", i)
		if c.WhenUnsatisfiable == "ScheduleAnyway" {
			t.warn(at, "ignored: Husk has no preferred spread, only a required one")
			continue
		}
		rule(openapi.Spread, at, c.TopologyKey, c.Selector, c.MaxSkew)
	}
	for _, of := range []struct {
		kind openapi.SchedulingRuleKind
		at   string
		kubernetesPodAffinity
	}{
		{openapi.Affinity, "spec.affinity.podAffinity", t.pod.Spec.Affinity.Affinity},
		{openapi.AntiAffinity, "spec.affinity.podAntiAffinity", t.pod.Spec.Affinity.AntiAffinity},
	} {
		for i, term := range of.Required {
			rule(of.kind, fmt.Sprintf("%s.requiredDuringSchedulingIgnoredDuringExecution[%d]", of.at, i), term.TopologyKey, term.Selector, nil)
		}
		if len(of.Preferred) > 0 {
			t.warn(of.at+".preferredDuringSchedulingIgnoredDuringExecution", "ignored: Husk has no preferred rules, only required ones")
		}
	}
	if rules != nil {
		s.Rules = &rules
	}
}

// one returns the label and the value of a selector that has exactly one.
func (k kubernetesSelector) one() (label, value string, ok bool) {
	if len(k.MatchLabels)+len(k.MatchExpressions) != 1 {
		return "", "", false
	}
	for label, value = range k.MatchLabels {
		return label, value, true
	}
	return k.MatchExpressions[0].one()
}

func topologyKey(key string) string {
	if ours, known := topologyKeys[key]; known {
		return ours
	}
	return key
}
