// SPDX-License-Identifier: Apache-2.0

package signals

import "testing"

func TestSignalsByName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{
		"": 15, "9": 9, "SIGTERM": 15, "quit": 3, "SIGRTMIN+3": 37, "RTMAX-1": 63, "SIGRTMIN": 34,
		"SIGRTMIN-1": 0, "SIGRTMIN3": 0, "0": 0, "65": 0, "SIG": 0, "nonsense": 0,
	} {
		got, err := Parse(name)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("Parse(%q) = %d, %v; want %d", name, got, err, want)
		}
	}
}
