// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"husk/cli/manifest/tree"
	"husk/openapi"
)

// kubernetesPolicy is a NetworkPolicy of Kubernetes. It becomes a security group with its rules, and one for each set of pods that its rules name.
type kubernetesPolicy struct {
	header

	Metadata struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		PodSelector kubernetesSelector     `json:"podSelector"`
		PolicyTypes []string               `json:"policyTypes"`
		Ingress     []kubernetesPolicyRule `json:"ingress"`
		Egress      []kubernetesPolicyRule `json:"egress"`
	} `json:"spec"`
}

type (
	kubernetesPolicyRule struct {
		Ports []kubernetesPolicyPort `json:"ports"`
		From  []kubernetesPolicyPeer `json:"from"`
		To    []kubernetesPolicyPeer `json:"to"`
	}
	kubernetesPolicyPort struct {
		Protocol string   `json:"protocol"`
		Port     portText `json:"port"`
		EndPort  int      `json:"endPort"`
	}
	kubernetesPolicyPeer struct {
		PodSelector *kubernetesSelector `json:"podSelector"`
		IPBlock     *struct {
			CIDR   string   `json:"cidr"`
			Except []string `json:"except"`
		} `json:"ipBlock"`
	}
)

// allPods selects all pods of a tenant: those without a label that none should have.
const allPods = "!husk.internal/in-no-policy"

// translate returns the groups of the peers, and the group of the policy.
func (p kubernetesPolicy) translate(d *decoder, origins map[string]string) ([]*openapi.SecurityGroupCreate, *openapi.SecurityGroupCreate) {
	if d.err() != nil {
		return nil, nil
	}
	d.checkName("metadata.name", p.Metadata.Name)
	maps.Copy(origins, map[string]string{"name": "metadata.name", "labels": "metadata.labels", "selector": "spec.podSelector", "restricts": "spec.policyTypes"})
	selector := selectorText(d, "spec.podSelector", p.Spec.PodSelector)
	restricts := openapi.GroupRestricts{}
	for i, t := range p.Spec.PolicyTypes {
		switch t {
		case "Ingress", "Egress":
			restricts = append(restricts, strings.ToLower(t))
		default:
			d.refuse(fmt.Sprintf("spec.policyTypes[%d]", i), "%q is not Ingress or Egress", t)
		}
	}
	if len(p.Spec.PolicyTypes) == 0 {
		restricts = append(restricts, "ingress")
		if len(p.Spec.Egress) > 0 {
			restricts = append(restricts, "egress")
		}
	}
	t := policyTranslation{decoder: d, name: p.Metadata.Name, selectors: map[string]string{}}
	var rules openapi.SecurityRules
	for direction, all := range map[openapi.SecurityRuleDirection][]kubernetesPolicyRule{openapi.SecurityRuleDirectionIngress: p.Spec.Ingress, openapi.SecurityRuleDirectionEgress: p.Spec.Egress} {
		if !slices.Contains(restricts, string(direction)) {
			continue // as Kubernetes does
		}
		for i, r := range all {
			at := fmt.Sprintf("spec.%s[%d]", direction, i)
			peers, where := r.From, at+".from"
			if direction == openapi.SecurityRuleDirectionEgress {
				peers, where = r.To, at+".to"
			}
			rules = append(rules, t.rules(direction, at, r, t.peers(where, peers))...)
		}
	}
	slices.SortStableFunc(rules, func(a, b openapi.SecurityRule) int { return -strings.Compare(string(a.Direction), string(b.Direction)) })
	out := openapi.SecurityGroupCreate{Name: p.Metadata.Name, Selector: &selector, Restricts: &restricts}
	if len(rules) > 0 {
		out.Rules = &rules
	}
	if len(p.Metadata.Labels) > 0 {
		labels := openapi.Labels(maps.Clone(p.Metadata.Labels))
		out.Labels = &labels
	}
	return t.groups, &out
}

type policyTranslation struct {
	*decoder

	name      string
	selectors map[string]string // names of the groups of peers, by their selectors
	groups    []*openapi.SecurityGroupCreate
}

func (t *policyTranslation) peers(at string, all []kubernetesPolicyPeer) *[]openapi.SecurityRulePeer {
	if len(all) == 0 {
		return nil
	}
	peers := []openapi.SecurityRulePeer{}
	for i, p := range all {
		here := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case p.IPBlock != nil && p.PodSelector != nil:
			t.refuse(here, "give either podSelector or ipBlock")
		case p.IPBlock != nil:
			peer := openapi.SecurityRulePeer{Cidr: &p.IPBlock.CIDR}
			if len(p.IPBlock.Except) > 0 {
				peer.Except = &p.IPBlock.Except
			}
			peers = append(peers, peer)
		case p.PodSelector != nil:
			name := t.group(selectorText(t.decoder, here+".podSelector", *p.PodSelector))
			peers = append(peers, openapi.SecurityRulePeer{Group: &name})
		default:
			t.refuse(here, "the peer says nothing; give podSelector or ipBlock")
		}
	}
	return &peers
}

// group returns the name of the group of the pods with a selector. It restricts nothing.
func (t *policyTranslation) group(selector string) string {
	if name, known := t.selectors[selector]; known {
		return name
	}
	name := t.name + "-peer-" + strconv.Itoa(len(t.groups)+1)
	t.checkName("metadata.name", name)
	t.selectors[selector] = name
	t.groups = append(t.groups, &openapi.SecurityGroupCreate{Name: name, Selector: &selector, Restricts: &openapi.GroupRestricts{}})
	return name
}

// rules makes a rule for each protocol.
func (t *policyTranslation) rules(direction openapi.SecurityRuleDirection, at string, r kubernetesPolicyRule, peers *[]openapi.SecurityRulePeer) (rules []openapi.SecurityRule) {
	if len(r.Ports) == 0 {
		return []openapi.SecurityRule{{Direction: direction, Peers: peers}}
	}
	for _, protocol := range []openapi.SecurityRuleProtocol{openapi.SecurityRuleProtocolTCP, openapi.SecurityRuleProtocolUDP} {
		var ports []openapi.SecurityRulePort
		all, any := false, false
		for i, p := range r.Ports {
			here := fmt.Sprintf("%s.ports[%d]", at, i)
			switch p.Protocol {
			case "", "TCP", "UDP":
			default:
				if protocol == openapi.SecurityRuleProtocolTCP { // once
					t.refuse(here+".protocol", "%q is not TCP or UDP", p.Protocol)
				}
				continue
			}
			if of := openapi.SecurityRuleProtocol(p.Protocol); of != protocol && (of != "" || protocol != openapi.SecurityRuleProtocolTCP) {
				continue
			}
			any = true
			if p.Port == "" {
				all = true
				continue
			}
			n, err := strconv.Atoi(string(p.Port))
			if err != nil {
				t.refuse(here+".port", "ports of containers have no names; give the number of the port %q", string(p.Port))
				continue
			}
			port := openapi.SecurityRulePort{Port: n}
			if p.EndPort != 0 {
				port.EndPort = &p.EndPort
			}
			ports = append(ports, port)
		}
		if !any {
			continue
		}
		rule := openapi.SecurityRule{Direction: direction, Protocol: &protocol, Peers: peers}
		if !all {
			rule.Ports = &ports
		}
		rules = append(rules, rule)
	}
	return rules
}

// selectorText writes a selector of Kubernetes as the API takes it.
func selectorText(d *decoder, at string, s kubernetesSelector) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		parts = append(parts, name+"="+s.MatchLabels[name])
	}
	for i, r := range s.MatchExpressions {
		switch r.Operator {
		case "In":
			parts = append(parts, r.Key+" in ("+strings.Join(r.Values, ", ")+")")
		case "NotIn":
			parts = append(parts, r.Key+" notin ("+strings.Join(r.Values, ", ")+")")
		case "Exists":
			parts = append(parts, r.Key)
		case "DoesNotExist":
			parts = append(parts, "!"+r.Key)
		default:
			d.refuse(fmt.Sprintf("%s.matchExpressions[%d].operator", at, i), "%q is not In, NotIn, Exists or DoesNotExist", r.Operator)
		}
	}
	if len(parts) == 0 {
		return allPods
	}
	return strings.Join(parts, ",")
}

func judgePolicyField(path string, value *yaml.Node) (refusal, warning string) {
	switch {
	case isEmpty(value), slices.Contains(bookkeeping, path):
		return "", ""
	case path == "metadata.namespace":
		return "", "ignored: " + noNamespaces
	case path == "metadata.annotations":
		return "", "ignored: only pods have annotations"
	case strings.HasSuffix(path, ".namespaceSelector"):
		return "objects belong to a tenant, and others' pods cannot be selected; leave the field out", ""
	}
	return "Husk has no counterpart for this field; leave the field out", ""
}

// groupDocument is a security group.
type groupDocument struct {
	header
	openapi.SecurityGroupCreate
}

// unnumber removes the numbers that the API gives to rules.
func (g *groupDocument) unnumber() {
	for i := range openapi.Value(g.Rules) {
		(*g.Rules)[i].Number = nil
	}
}

// CompleteGroup returns a security group to create with the API's defaults.
func CompleteGroup(g openapi.SecurityGroupCreate) openapi.SecurityGroupCreate {
	rules := slices.Clone(openapi.Value(g.Rules))
	if rules == nil {
		rules = openapi.SecurityRules{}
	}
	restricts := openapi.GroupRestricts{"ingress"}
	for i := range rules {
		if rules[i].Protocol == nil {
			every := openapi.SecurityRuleProtocolAny
			rules[i].Protocol = &every
		}
		if rules[i].Direction == openapi.SecurityRuleDirectionEgress && len(restricts) == 1 {
			restricts = append(restricts, "egress")
		}
	}
	if g.Rules = &rules; g.Restricts == nil {
		g.Restricts = &restricts
	}
	if g.Selector == nil {
		g.Selector = new("")
	}
	return g
}

// DiffGroup returns the paths of the fields in which a complete document and an existing group differ, except name and labels.
func DiffGroup(want openapi.SecurityGroupCreate, have openapi.SecurityGroup) []string {
	rules := slices.Clone(have.Rules)
	for i := range rules {
		rules[i].Number = nil
	}
	got := openapi.SecurityGroupCreate{Name: have.Name, Selector: have.Selector, Restricts: &have.Restricts, Rules: &rules}
	want.Labels = nil
	return tree.Diff(tree.Of(want), tree.Of(got))
}

// PeersOf returns the names of the groups that are peers of a group's rules.
func PeersOf(g openapi.SecurityGroupCreate) (names []string) {
	for _, r := range openapi.Value(g.Rules) {
		for _, p := range openapi.Value(r.Peers) {
			if p.Group != nil {
				names = append(names, *p.Group)
			}
		}
	}
	return names
}
