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
	var err error
	f.Labels, err = Selector("labelSelector", *selector)
	return f, err
}

// Selector reads a label selector in the syntax of Kubernetes. Codes: invalid.
func Selector(field, text string) (husk.Selector, error) {
	parsed, err := labels.Parse(text)
	if err != nil {
		return nil, husk.Errorf(husk.CodeInvalid, field, "%s", err)
	}
	requirements, selectable := parsed.Requirements()
	if !selectable || len(requirements) > maxRequirements {
		return nil, husk.Errorf(husk.CodeInvalid, field, "a selector has at most %d requirements", maxRequirements)
	}
	var selector husk.Selector
	for _, r := range requirements {
		op, ok := selectorOps[r.Operator()]
		if !ok {
			return nil, husk.Errorf(husk.CodeInvalid, field, "the operator %q is not supported", r.Operator())
		}
		selector = append(selector, husk.Requirement{Key: r.Key(), Op: op, Values: slices.Sorted(slices.Values(r.Values().UnsortedList()))})
	}
	return selector, nil
}

var selectorOps = map[selection.Operator]husk.SelectorOp{
	selection.Equals: husk.OpIn, selection.DoubleEquals: husk.OpIn, selection.In: husk.OpIn,
	selection.NotEquals: husk.OpNotIn, selection.NotIn: husk.OpNotIn,
	selection.Exists: husk.OpExists, selection.DoesNotExist: husk.OpAbsent,
}
