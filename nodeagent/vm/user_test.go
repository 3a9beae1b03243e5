// SPDX-License-Identifier: Apache-2.0

package vm

import "testing"

func TestRangesOfUsersAreChecked(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Users{
		"1900000000-1900065535": DefaultUsers, "5000-5000": {First: 5000, Count: 1},
		"": {}, "5000": {}, "0-10": {}, "20-10": {}, "-5": {}, "1-4294967296": {}, "a-b": {}, "1-2-3": {},
	} {
		if got, err := ParseUsers(text); got != want || (err != nil) != (want == Users{}) {
			t.Errorf("ParseUsers(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
}
