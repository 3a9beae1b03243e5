// SPDX-License-Identifier: Apache-2.0

package print

import "testing"

func TestCoresArePrintedAsTheCommandLineTakesThem(t *testing.T) {
	t.Parallel()
	for millis, want := range map[int]string{500: "0.5", 1000: "1", 1250: "1.25", 50: "0.05", 10000: "10"} {
		if got := Cores(millis); got != want {
			t.Errorf("%d: %s, want %s", millis, got, want)
		}
	}
}
