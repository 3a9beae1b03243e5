// SPDX-License-Identifier: Apache-2.0

// Package moves has the long tests of moves: 20 in a row, and one that is cut at every stage (make moves).
package moves

import (
	"testing"

	"husk/openapi"
	"husk/test/moves"
	"husk/test/onewriter"
	"husk/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

func TestAMoveThatIsCutAtEveryStageLeavesOneWriter(t *testing.T) {
	f := stack.StartFleet(t, 2)
	tn := f.NewTenant(t)
	h := onewriter.Start(t, tn, onewriter.Image(t, tn), "writer", nil)
	tn.Wait(t, h.Pod.ID, openapi.PodPhaseRunning)
	h.Writes(t, 1, 10)
	moves.Run(t, f, tn, h, true)
}

// The program of a pod that moves 20 times in a row never notices.
func TestAPodMovesTwentyTimes(t *testing.T) {
	f := stack.StartFleet(t, 2)
	tn := f.NewTenant(t)
	h := onewriter.Start(t, tn, onewriter.Image(t, tn), "writer", nil)
	tn.Wait(t, h.Pod.ID, openapi.PodPhaseRunning)
	h.Writes(t, 1, 10)
	for i := range 20 {
		t.Logf("%2d: %s", i+1, moves.Move(t, f, tn, h.Pod))
		h.WritesOn(t, 5)
		if n := h.Runs(); n != 1 {
			t.Fatalf("the program was started %d times; the events of its pod:\n%s", n, moves.Events(t, tn, h.Pod))
		}
	}
	if err := h.Check(t); err != nil {
		t.Error(err)
	}
}
