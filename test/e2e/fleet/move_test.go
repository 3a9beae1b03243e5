// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"husk/client"
	"husk/openapi"
	"husk/test/onewriter"
	"husk/test/stack"
)

// move moves a pod and waits until its machine is only on another node, and the server says so. It returns the downtime that an event says.
func move(t *testing.T, f *stack.Fleet, tn *stack.Tenant, pod openapi.Pod) string {
	t.Helper()
	from := f.NodeOf(t, pod.ID).Name
	var m openapi.Move
	stack.Eventually(t, time.Minute, func() (err error) { // its Ceph clients may not be known yet
		m, err = f.Operator.Tenants.Move(t.Context(), tn.ID, pod.ID, openapi.MovePut{})
		return err
	})
	if !m.Live || m.FromNodeName != from {
		t.Fatalf("the move is %+v, and the pod runs on %s", m, from)
	}
	stack.Eventually(t, 2*time.Minute, func() error {
		on := f.NodesOf(t, pod.ID)
		now, err := tn.API.Pods.Get(t.Context(), pod.ID)
		if err == nil && (len(on) != 1 || on[0] != m.ToNodeName || now.Status.NodeName == nil || *now.Status.NodeName != m.ToNodeName) {
			err = fmt.Errorf("the pod has machines on %v, and moves to %s", on, m.ToNodeName)
		}
		return err
	})
	last := "no event"
	for e, err := range tn.API.Events.List(t.Context(), client.EventSelect{Object: pod.ID}) {
		if err == nil && e.Reason == "MoveFinished" && e.Message != nil {
			last = *e.Message
		}
	}
	return last
}

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
		t.Logf("after %s: %s", time.Since(began).Round(time.Millisecond), move(t, f, tn, h.Pod))
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
