// SPDX-License-Identifier: Apache-2.0

package request

import (
	"husk"
	"husk/openapi"
	"husk/store"
)

const (
	defaultLimit = 100
	// MaxLimit is the largest page of a list.
	MaxLimit = 1000
)

// Page returns the page of a list that the request selects.
func Page(limit *openapi.Limit, cursor *openapi.Cursor) store.Page {
	p := store.Page{Limit: defaultLimit, Cursor: openapi.Value(cursor)}
	if limit != nil {
		p.Limit = *limit
	}
	return p
}

// Listed returns a page in the form of the API, with the cursor of the next one, if there is one.
func Listed[To, From any](items []From, next string) ([]To, *string, error) {
	out, err := openapi.Recast[[]To](items)
	if next == "" {
		return out, nil, err
	}
	return out, &next, err
}

// ETag returns the header of an object, in the form in which the store compares it with If-Match.
func ETag(object any) *string { return new(husk.ETag(object)) }
