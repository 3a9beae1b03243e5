// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"strings"
	"time"

	"github.com/spf13/pflag"

	"husk/cli/exit"
	"husk/openapi"
)

// Scheduling holds the flags that say to which nodes a pod may be scheduled.
type Scheduling struct {
	selectors, preferred, tolerations, affinity, antiAffinity, spread []string
	priority                                                          int
	lifetime                                                          time.Duration
}

// AddTo adds the flags.
func (f *Scheduling) AddTo(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.selectors, "node-selector", nil, "NAME=VALUE, run the pod only on nodes with this label; may be repeated")
	fs.StringArrayVar(&f.preferred, "prefer-node", nil, "NAME=VALUE, prefer nodes with this label; may be repeated")
	fs.StringArrayVar(&f.tolerations, "tolerate", nil, "tolerate this taint: the pod may run on nodes that have it; may be repeated")
	fs.StringArrayVar(&f.affinity, "affinity", nil, "LABEL=VALUE:TOPOLOGY, such as app=cache:zone: run the pod only in a topology domain that runs a pod with this label, or in any domain if no pod has it; may be repeated")
	fs.StringArrayVar(&f.antiAffinity, "anti-affinity", nil, "LABEL:TOPOLOGY, such as app:node: do not run two pods with the same value of this label in one topology domain; may be repeated")
	fs.StringArrayVar(&f.spread, "spread", nil, "LABEL:TOPOLOGY, such as app:zone: spread pods with the same value of this label evenly over the topology domains; may be repeated")
	fs.IntVar(&f.priority, "priority", 0, "priority of the pod: pods with a higher priority are scheduled first and may preempt pods with a lower one")
	fs.DurationVar(&f.lifetime, "expected-lifetime", 0, "approximate run time of the pod; a hint for the scheduler")
	for _, old := range []struct {
		name, now string
		to        *[]string
	}{{"near", "affinity", &f.affinity}, {"apart", "anti-affinity", &f.antiAffinity}} {
		fs.StringArrayVar(old.to, old.name, nil, "the former name of --"+old.now)
		fs.Lookup(old.name).Hidden = true // until the release after this one
	}
}

// Scheduling returns the constraints, or nil if none of the flags was given.
func (f *Scheduling) Scheduling() (*openapi.Scheduling, error) {
	var s openapi.Scheduling
	asked := false
	for _, x := range []struct {
		flag string
		from []string
		to   **openapi.NodeSelector
	}{{"--node-selector", f.selectors, &s.NodeSelector}, {"--prefer-node", f.preferred, &s.PreferredNodeSelector}} {
		if len(x.from) == 0 {
			continue
		}
		asked = true
		labels := openapi.NodeSelector{}
		for _, pair := range x.from {
			k, v, ok := strings.Cut(pair, "=")
			if !ok || k == "" {
				return nil, exit.Usagef("%s: %q is not NAME=VALUE", x.flag, pair)
			}
			labels[k] = v
		}
		*x.to = &labels
	}
	if len(f.tolerations) > 0 {
		asked, s.Tolerations = true, &f.tolerations
	}
	var rules []openapi.SchedulingRule
	for _, x := range []struct {
		flag string
		kind openapi.SchedulingRuleKind
		from []string
	}{
		{"--anti-affinity", openapi.AntiAffinity, f.antiAffinity},
		{"--affinity", openapi.Affinity, f.affinity},
		{"--spread", openapi.Spread, f.spread},
	} {
		for _, text := range x.from {
			label, topology, ok := strings.Cut(text, ":")
			label, value, has := strings.Cut(label, "=")
			if !ok || label == "" || topology == "" || has && value == "" {
				return nil, exit.Usagef("%s: %q is not LABEL:TOPOLOGY or LABEL=VALUE:TOPOLOGY", x.flag, text)
			}
			rule := openapi.SchedulingRule{Kind: x.kind, Label: label, TopologyKey: topology}
			if has {
				rule.Value = &value
			}
			rules = append(rules, rule)
		}
	}
	if rules != nil {
		asked, s.Rules = true, &rules
	}
	if f.priority != 0 {
		asked, s.Priority = true, &f.priority
	}
	if f.lifetime < 0 || f.lifetime > 0 && f.lifetime < time.Second {
		return nil, exit.Usagef("--expected-lifetime: %s is shorter than a second", f.lifetime)
	}
	if seconds := int64(f.lifetime.Seconds()); seconds > 0 {
		asked, s.ExpectedLifetimeSeconds = true, &seconds
	}
	if !asked {
		return nil, nil //nolint:nilnil // no constraints
	}
	return &s, nil
}
