// SPDX-License-Identifier: Apache-2.0

package request

import (
	"slices"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"husk"
	"husk/openapi"
	"husk/store"
)

// maxRequirements is how many requirements a selector can have.
const maxRequirements = 32

// Filter returns what a list is limited to. Codes: invalid (labelSelector).
func Filter(name *openapi.Name, selector *openapi.LabelSelector) (store.Filter, error) {
	f := store.Filter{Name: name}
	if selector == nil {
		return f, nil
	}
	parsed, err := labels.Parse(*selector)
	if err != nil {
		return f, husk.Errorf(husk.CodeInvalid, "labelSelector", "%s", err)
	}
	requirements, selectable := parsed.Requirements()
	if !selectable || len(requirements) > maxRequirements {
		return f, husk.Errorf(husk.CodeInvalid, "labelSelector", "a selector has at most %d requirements", maxRequirements)
	}
	for _, r := range requirements {
		op, ok := selectorOps[r.Operator()]
		if !ok {
			return f, husk.Errorf(husk.CodeInvalid, "labelSelector", "the operator %q is not supported", r.Operator())
		}
		f.Labels = append(f.Labels, husk.Requirement{Key: r.Key(), Op: op, Values: slices.Sorted(slices.Values(r.Values().UnsortedList()))})
	}
	return f, nil
}

var selectorOps = map[selection.Operator]husk.SelectorOp{
	selection.Equals: husk.OpIn, selection.DoubleEquals: husk.OpIn, selection.In: husk.OpIn,
	selection.NotEquals: husk.OpNotIn, selection.NotIn: husk.OpNotIn,
	selection.Exists: husk.OpExists, selection.DoesNotExist: husk.OpAbsent,
}
