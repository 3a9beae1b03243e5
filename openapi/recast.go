// SPDX-License-Identifier: Apache-2.0

package openapi

import (
	"encoding/json"
	"fmt"
)

// Recast converts a value of the vocabulary to the generated wire type with the same JSON form, or back. Both follow the contract. A test
// checks every pair.
func Recast[To any](from any) (To, error) {
	var to To
	raw, err := json.Marshal(from)
	if err != nil {
		return to, fmt.Errorf("recast %T to %T: %w", from, to, err)
	}
	if err := json.Unmarshal(raw, &to); err != nil {
		return to, fmt.Errorf("recast %T to %T: %w", from, to, err)
	}
	return to, nil
}
