// SPDX-License-Identifier: Apache-2.0

package husk

import "testing"

func TestAnAgentRefusesOlderDesiredStates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what                 string
		is, seen             Incarnation
		revision, seenBefore int64
		refused              bool
	}{
		{"a later revision", "7/16384/1", "7/16384/1", 5, 4, false},
		{"the same", "7/16384/1", "7/16384/1", 4, 4, false},
		{"an earlier revision", "7/16384/1", "7/16384/1", 3, 4, true},
		{"a standby was promoted", "7/16384/2", "7/16384/1", 3, 4, false},
		{"the primary that was replaced", "7/16384/9", "7/16384/10", 50, 4, true},
		{"a restored dump", "7/20000/1", "7/16384/3", 3, 4, false},
		{"another system", "8/16384/1", "7/16384/3", 3, 4, false},
		{"a server of an earlier version", "", "7/16384/3", 3, 4, true},
		{"the first state with an incarnation", "7/16384/3", "", 3, 4, true},
		{"nonsense", "7/16384/x", "7/16384/3", 3, 4, true},
	} {
		if got := (DesiredState{Revision: c.revision, Incarnation: c.is}).OlderThan(c.seen, c.seenBefore); got != c.refused {
			t.Errorf("%s: refused is %t", c.what, got)
		}
	}
}
