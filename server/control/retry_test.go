// SPDX-License-Identifier: Apache-2.0

package control

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"husk/ceph"
)

func TestWorkThatIsInUseIsRetriedSoonAndNotForever(t *testing.T) {
	t.Parallel()
	inUse := fmt.Errorf("remove: %w", &ceph.BusyError{Name: "vol-1"})
	var waited time.Duration
	for attempt := 1; attempt < busyAttempts; attempt++ {
		delay := retryDelay(attempt, inUse)
		if waited += delay; delay > busyRetryMax || delay < workRetryMin {
			t.Errorf("attempt %d of work in use is followed by a pause of %v", attempt, delay)
		}
	}
	if waited < 5*time.Minute || waited > 15*time.Minute {
		t.Errorf("work in use is retried for %v", waited)
	}
	for attempt, want := range map[int]time.Duration{1: workRetryMin, 3: 4 * workRetryMin, stuckAfter - 1: workRetryMax, stuckAfter: stuckRetry, 1000: stuckRetry} {
		if got := retryDelay(attempt, errors.New("ceph does not respond")); got != want {
			t.Errorf("attempt %d is followed by a pause of %v, want %v", attempt, got, want)
		}
	}
	if got := retryDelay(busyAttempts, inUse); got != stuckRetry {
		t.Errorf("after %d attempts, work in use has a pause of %v", busyAttempts, got)
	}
}
