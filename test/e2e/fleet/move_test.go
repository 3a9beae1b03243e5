// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"strings"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/moves"
	"husk/test/onewriter"
	"husk/test/stack"
)

// A pod that writes to a volume as fast as it can moves to another node while it runs: the program continues, no record is lost, and its log is
// there from the beginning.
func TestAPodMovesWithItsMemory(t *testing.T) {
	f := stack.StartFleet(t, 2)
	tn := f.NewTenant(t)
	image := onewriter.Image(t, tn)
	h := onewriter.Start(t, tn, image, "writer", nil)
	tn.Wait(t, h.Pod.ID, openapi.PodPhaseRunning)
	written := 20
	h.Writes(t, 1, written)
	for range 2 {
		began := time.Now()
		t.Logf("after %s: %s", time.Since(began).Round(time.Millisecond), moves.Move(t, f, tn, h.Pod))
		written += 20
		h.Writes(t, 1, written)
	}
	if n := h.Runs(); n != 1 {
		t.Errorf("the program was started %d times", n)
	}
	if text := tn.Logs(t, h.Pod.ID, nil); !strings.HasPrefix(text, "open ") || strings.Contains(text, "missing") {
		t.Errorf("the log has not moved with the pod: %.300s", text)
	}
	if err := h.Check(t); err != nil {
		t.Error(err)
	}
}

func TestAMoveThatIsCutLeavesOneWriter(t *testing.T) {
	f := stack.StartFleet(t, 2)
	tn := f.NewTenant(t)
	h := onewriter.Start(t, tn, onewriter.Image(t, tn), "writer", nil)
	tn.Wait(t, h.Pod.ID, openapi.PodPhaseRunning)
	h.Writes(t, 1, 10)
	moves.Run(t, f, tn, h, false)
}
