// SPDX-License-Identifier: Apache-2.0

package openapi

// Value returns what an optional field points to, and the zero value for one that was left out.
func Value[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}
