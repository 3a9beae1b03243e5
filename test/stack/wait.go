// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"errors"
	"testing"
	"time"

	"husk/test/pace"
)

// Pauses between two checks of a condition. The first pauses are short, so that tests of fast
// conditions are fast. The last ones are longer, to save CPU time.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 250 * time.Millisecond
)

// BootTime is how long a pod may take to run on the reference machine.
const BootTime = 90 * time.Second

// ErrNotYet is returned by conditions that are not met yet and have no other error.
var ErrNotYet = errors.New("not yet")

// Until repeats f until it succeeds. If ctx ends first, it returns f's last error.
func Until(ctx context.Context, f func() error) error {
	for pause := firstPause; ; pause = min(pause*3/2, lastPause) {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// Eventually calls f until it succeeds. It fails the test if f does not succeed within a time,
// which is given for the reference machine.
func Eventually(t testing.TB, within time.Duration, f func() error) {
	t.Helper()
	within = pace.Limit(within)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := Until(ctx, f); err != nil {
		t.Fatalf("not within %s: %v", within, err)
	}
}
