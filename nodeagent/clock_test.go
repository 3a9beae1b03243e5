// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"testing"
	"time"
)

func TestAClockIsCorrectedIfItIsCertainlyWrong(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		what                  string
		said, asked, answered int
		want                  int
	}{
		{"right", 5, 0, 10, 0},
		{"a little off", -400, 0, 10, 0},
		{"behind, after a pause", -20_000, 0, 10, -20_005},
		{"ahead", 3_600_000, 0, 10, 3_599_995},
		{"the machine was paused while it was asked", 0, 0, 20_000, 0},
		{"behind, and slow", -20_000, 0, 4000, -22_000},
	} {
		if got := clockError(at(c.said), at(c.asked), at(c.answered)); got != time.Duration(c.want)*time.Millisecond {
			t.Errorf("%s: off by %v, want %d ms", c.what, got, c.want)
		}
	}
}
