// SPDX-License-Identifier: Apache-2.0

package husk

// Selector is a label selector. An object must meet every requirement.
type Selector []Requirement

// Requirement is one condition on an object's labels.
type Requirement struct {
	Key    string     `json:"key"`
	Op     SelectorOp `json:"op"`
	Values []string   `json:"values,omitempty"` // of OpIn and OpNotIn
}

// SelectorOp is the operator of a requirement. The SQL function labels_match implements it.
type SelectorOp string

// The operators of Kubernetes' label selectors. A key that is absent is not in any set.
const (
	OpIn     SelectorOp = "in"
	OpNotIn  SelectorOp = "notin"
	OpExists SelectorOp = "exists"
	OpAbsent SelectorOp = "absent"
)
