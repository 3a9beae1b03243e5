package main

import (
	"strings"
	"time"

	"github.com/spf13/pflag"

	"husk/openapi"
)

// placeFlags say where a pod may go.
type placeFlags struct {
	selectors, preferred, tolerations, apart, near, spread []string
	priority                                               int
	lifetime                                               time.Duration
}

func (f *placeFlags) add(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.selectors, "node-selector", nil, "NAME=VALUE, a label that the node must have; may be repeated")
	fs.StringArrayVar(&f.preferred, "prefer-node", nil, "NAME=VALUE, a label of nodes that are taken first; may be repeated")
	fs.StringArrayVar(&f.tolerations, "tolerate", nil, "a taint of nodes that does not keep the pod away; may be repeated")
	fs.StringArrayVar(&f.apart, "apart", nil, "LABEL:PLACE, no two pods with the same value of this label in one place, such as app:node; may be repeated")
	fs.StringArrayVar(&f.near, "near", nil, "LABEL=VALUE:PLACE, only in a place where a pod has this label, such as app=cache:zone; may be repeated")
	fs.StringArrayVar(&f.spread, "spread", nil, "LABEL:PLACE, pods with the same value of this label evenly over the places, such as app:zone; may be repeated")
	fs.IntVar(&f.priority, "priority", 0, "a higher one is placed first and takes the room of lower ones")
	fs.DurationVar(&f.lifetime, "expected-lifetime", 0, "how long the pod will about run, a hint for the scheduler")
}

// scheduling is nil for a pod that asks for nothing.
func (f *placeFlags) scheduling() (*openapi.Scheduling, error) {
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
				return nil, usagef("%s: %q is not NAME=VALUE", x.flag, pair)
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
		{"--apart", openapi.AntiAffinity, f.apart},
		{"--near", openapi.Affinity, f.near},
		{"--spread", openapi.Spread, f.spread},
	} {
		for _, text := range x.from {
			label, place, ok := strings.Cut(text, ":")
			label, val, has := strings.Cut(label, "=")
			if !ok || label == "" || place == "" || has && val == "" {
				return nil, usagef("%s: %q is not LABEL:PLACE or LABEL=VALUE:PLACE", x.flag, text)
			}
			rules = append(rules, openapi.SchedulingRule{Kind: x.kind, Label: label, Value: given(val), TopologyKey: place})
		}
	}
	if rules != nil {
		asked, s.Rules = true, &rules
	}
	if f.priority != 0 {
		asked, s.Priority = true, &f.priority
	}
	if f.lifetime < 0 || f.lifetime > 0 && f.lifetime < time.Second {
		return nil, usagef("--expected-lifetime: %s is not at least a second", f.lifetime)
	}
	if seconds := int64(f.lifetime.Seconds()); seconds > 0 {
		asked, s.ExpectedLifetimeSeconds = true, &seconds
	}
	if !asked {
		return nil, nil
	}
	return &s, nil
}
