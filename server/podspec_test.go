// SPDX-License-Identifier: Apache-2.0

package server

import (
	"strings"
	"testing"
	"time"

	"husk/server/control"

	"github.com/google/go-cmp/cmp"

	"husk"
)

func TestDesiredStateInEachPhase(t *testing.T) {
	t.Parallel()
	want := map[husk.Phase]husk.DesiredPodState{
		husk.PhaseStarting: husk.DesiredRunning, husk.PhaseRunning: husk.DesiredRunning, husk.PhaseUnknown: husk.DesiredRunning,
		husk.PhaseSucceeded: husk.DesiredFinished, husk.PhaseFailed: husk.DesiredFinished, husk.PhaseStopping: husk.DesiredGone,
	}
	got := map[husk.Phase]husk.DesiredPodState{}
	for _, phase := range husk.Phases {
		if phase != husk.PhasePending && phase != husk.PhaseStopped && phase != husk.PhaseGone { // pods in these phases are on no node
			got[phase] = desiredStateOf(phase)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestALeaseThatIsTooShortIsRefusedAtStart(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{
		{Terms: control.LeaseTerms{Lease: 10 * time.Second, Heartbeat: 6 * time.Second, Margin: 5 * time.Second, Brake: 0.5}},
		{Terms: control.LeaseTerms{Lease: time.Second, Heartbeat: 500 * time.Millisecond, Margin: 5 * time.Second, Brake: 0.5}},
		{Terms: control.LeaseTerms{Lease: 20 * time.Second, Heartbeat: 5 * time.Second, Margin: time.Second, Brake: 0.5}},
		{Terms: control.LeaseTerms{Lease: 20 * time.Second, Heartbeat: 5 * time.Second, Margin: 5 * time.Second}},
	} {
		if _, err := New(t.Context(), c); err == nil || !strings.Contains(err.Error(), "at least twice the heartbeat") {
			t.Errorf("%v: %v", c, err)
		}
	}
}
