// SPDX-License-Identifier: Apache-2.0

package server

import (
	"testing"

	"husk/server/deliver"

	"github.com/google/go-cmp/cmp"

	"husk"
)

func TestDesiredStateInEachPhase(t *testing.T) {
	t.Parallel()
	want := map[husk.Phase]husk.DesiredPodState{
		husk.PhaseStarting: husk.DesiredRunning, husk.PhaseRunning: husk.DesiredRunning,
		husk.PhaseSucceeded: husk.DesiredFinished, husk.PhaseFailed: husk.DesiredFinished, husk.PhaseStopping: husk.DesiredGone,
	}
	got := map[husk.Phase]husk.DesiredPodState{}
	for _, phase := range husk.Phases {
		if phase != husk.PhasePending && phase != husk.PhaseStopped && phase != husk.PhaseGone { // pods in these phases are on no node
			got[phase] = deliver.StateOf(phase)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
