// SPDX-License-Identifier: Apache-2.0

package request

import (
	"encoding/json"

	"github.com/getkin/kin-openapi/openapi3"
)

// perItem marks a list of the contract whose items are checked one by one.
const perItem = "x-per-item"

// RefusedItem is an item of a list that does not match the contract.
type RefusedItem struct {
	List  string
	Index int // in the request as it was sent
	Err   error
}

// Items says which items of a request's lists did not match the contract and were taken out.
type Items struct {
	Refused []RefusedItem
	kept    map[string][]int // for each list, the original position of each remaining item
}

// Position returns the position that an item had in the request as it was sent.
func (i Items) Position(list string, index int) int {
	if kept, ok := i.kept[list]; ok {
		return kept[index]
	}
	return index
}

// WithoutInvalidItems takes the items that fail check out of the lists that the contract marks with x-per-item. An item that is wrong
// then does not affect the others, which may be about other tenants' pods. It returns the body unchanged if it finds no such item.
func WithoutInvalidItems(schema *openapi3.Schema, body []byte, check func(*openapi3.Schema, any) error) ([]byte, Items, error) {
	var all map[string]json.RawMessage
	items := Items{kept: map[string][]int{}}
	if err := json.Unmarshal(body, &all); err != nil {
		return body, Items{}, nil //nolint:nilerr // the contract refuses the whole body and says why
	}
	for name, property := range schema.Properties {
		if property.Value.Extensions[perItem] != true {
			continue
		}
		var list []json.RawMessage
		if err := json.Unmarshal(all[name], &list); err != nil {
			continue // as above
		}
		valid := make([]json.RawMessage, 0, len(list))
		for i, raw := range list {
			var item any
			err := json.Unmarshal(raw, &item)
			if err == nil {
				err = check(property.Value.Items.Value, item)
			}
			if err != nil {
				items.Refused = append(items.Refused, RefusedItem{name, i, err})
				continue
			}
			items.kept[name] = append(items.kept[name], i)
			valid = append(valid, raw)
		}
		raw, err := json.Marshal(valid)
		if err != nil {
			return nil, Items{}, err
		}
		all[name] = raw
	}
	if len(items.Refused) == 0 {
		return body, Items{}, nil
	}
	rest, err := json.Marshal(all)
	return rest, items, err
}
