package store

import "encoding/json"

// Filter narrows a list; its zero value does not.
type Filter struct {
	Name   *string
	Labels Selector
}

// Selector is a label selector: every requirement must hold.
type Selector []Requirement

// Requirement is one condition on an object's labels.
type Requirement struct {
	Key    string     `json:"key"`
	Op     SelectorOp `json:"op"`
	Values []string   `json:"values,omitempty"` // of OpIn and OpNotIn
}

// SelectorOp is what a requirement asks of the label's value. The function labels_match in the schema carries it out.
type SelectorOp string

// The operators of Kubernetes' label selectors. A key that is absent is not in any set.
const (
	OpIn     SelectorOp = "in"
	OpNotIn  SelectorOp = "notin"
	OpExists SelectorOp = "exists"
	OpAbsent SelectorOp = "absent"
)

// json is what SQL takes; nil matches everything.
func (s Selector) json() []byte {
	if len(s) == 0 {
		return nil
	}
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings always have a JSON form
	}
	return raw
}
