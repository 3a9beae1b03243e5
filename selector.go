// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"slices"
	"strings"
)

// Selector is a label selector. An object must meet every requirement.
type Selector []Requirement

// Requirement is one condition on an object's labels.
type Requirement struct {
	Key    string     `json:"key"`
	Op     SelectorOp `json:"op"`
	Values []string   `json:"values,omitempty"` // of OpIn and OpNotIn
}

// SelectorOp is the operator of a requirement.
type SelectorOp string

// The operators of Kubernetes' label selectors. A key that is absent is not in any set.
const (
	OpIn     SelectorOp = "in"
	OpNotIn  SelectorOp = "notin"
	OpExists SelectorOp = "exists"
	OpAbsent SelectorOp = "absent"
)

// Matches reports whether an object with these labels meets every requirement. The SQL function labels_match does the same in lists.
func (s Selector) Matches(labels map[string]string) bool {
	for _, r := range s {
		value, has := labels[r.Key]
		ok := false
		switch r.Op {
		case OpIn:
			ok = has && slices.Contains(r.Values, value)
		case OpNotIn:
			ok = !has || !slices.Contains(r.Values, value)
		case OpExists:
			ok = has
		case OpAbsent:
			ok = !has
		}
		if !ok {
			return false
		}
	}
	return true
}

// String returns the selector in the syntax of Kubernetes.
func (s Selector) String() string {
	parts := make([]string, 0, len(s))
	for _, r := range s {
		switch one := len(r.Values) == 1; {
		case r.Op == OpIn && one:
			parts = append(parts, r.Key+"="+r.Values[0])
		case r.Op == OpNotIn && one:
			parts = append(parts, r.Key+"!="+r.Values[0])
		case r.Op == OpIn || r.Op == OpNotIn:
			parts = append(parts, r.Key+" "+string(r.Op)+" ("+strings.Join(r.Values, ",")+")")
		case r.Op == OpAbsent:
			parts = append(parts, "!"+r.Key)
		default:
			parts = append(parts, r.Key)
		}
	}
	return strings.Join(parts, ",")
}
