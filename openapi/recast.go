package openapi

import (
	"encoding/json"
	"fmt"
)

// Recast turns a value of our vocabulary into the generated wire type of the same JSON form, or back. Both follow the contract;
// a test holds every pair together.
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
