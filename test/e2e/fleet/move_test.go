// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
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
	// It also changes its size, while the agent of its node is killed. Its machine keeps the size on the other node, and can change it there.
	for _, size := range []openapi.Resources{{CPUMillis: 1400, MemoryMiB: 256}, {CPUMillis: 400, MemoryMiB: 192}} {
		if _, err := tn.API.Pods.Resize(t.Context(), h.Pod.ID, openapi.PodResize{CPUMillis: &size.CPUMillis, MemoryMiB: &size.MemoryMiB}, false); err != nil {
			t.Fatal(err)
		}
		f.NodeOf(t, h.Pod.ID).Process("agent").Kill(t)
		stack.Eventually(t, time.Minute, func() error {
			pod, err := tn.Get(t.Context(), h.Pod.ID)
			if err == nil && (pod.Status.Resources != nil || pod.Status.ObservedGeneration < pod.Generation) {
				err = fmt.Errorf("the pod has %+v, want %+v", pod.Status.Resources, size)
			}
			return err
		})
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

// A node is drained, and two pods on it that are to run only once move with their memory. The TCP connection between them lives: it waits while one of
// them is on the new node already, and no byte is lost.
func TestAConnectionBetweenPodsThatMoveLives(t *testing.T) {
	f := stack.StartFleet(t, 2)
	tn := f.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	n1, err := f.Operator.Nodes.Find(t.Context(), "n1")
	if err != nil {
		t.Fatal(err)
	}
	n2, err := f.Operator.Nodes.Find(t.Context(), "n2")
	if err != nil {
		t.Fatal(err)
	}
	cordon := func(n openapi.Node, yes bool) {
		if _, err := f.Operator.Nodes.Update(t.Context(), n.ID, openapi.NodeUpdate{Cordoned: &yes}); err != nil {
			t.Fatal(err)
		}
	}
	cordon(n2, true)
	once := func(s *openapi.PodSpec) { s.RestartPolicy = new(openapi.Never) }
	echo := tn.Create(t, "echo", func(s *openapi.PodSpec) {
		once(s)
		s.Containers = []openapi.Container{stack.Shell(busybox, "echo listening; nc -l -p 7000 -e cat")}
	})
	echo = tn.Wait(t, echo.ID, openapi.PodPhaseRunning)
	tn.WaitForLog(t, echo.ID, "main", "listening")
	says := tn.Create(t, "says", func(s *openapi.PodSpec) {
		once(s)
		s.Containers = []openapi.Container{stack.Shell(busybox, "sleep 1; (i=0; while :; do i=$((i+1)); echo said $i; sleep 0.2; done) | nc "+*echo.Status.Address+" 7000")}
	})
	tn.Wait(t, says.ID, openapi.PodPhaseRunning)
	tn.WaitForLog(t, says.ID, "main", "said 5\n")
	cordon(n2, false)
	if _, err := f.Operator.Nodes.Drain(t.Context(), n1.ID, openapi.DrainPut{}); err != nil {
		t.Fatal(err)
	}
	stack.Eventually(t, 2*time.Minute, func() error {
		d, err := f.Operator.Nodes.GetDrain(t.Context(), n1.ID)
		if err == nil && d.State != openapi.DrainStateDrained {
			err = fmt.Errorf("the drain is %+v", d)
		}
		return err
	})
	for _, p := range []openapi.Pod{echo, says} {
		if on := f.NodeOf(t, p.ID).Name; on != "n2" {
			t.Errorf("pod %s is on %s", p.Name, on)
		}
		t.Logf("pod %s: %s", p.Name, moves.Finished(t, tn, p))
	}
	said := strings.Count(tn.Logs(t, says.ID, nil), "said ")
	text := tn.WaitForLog(t, says.ID, "main", fmt.Sprintf("said %d\n", said+20))
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if line != fmt.Sprintf("said %d", i+1) {
			t.Fatalf("line %d that came back is %q", i+1, line)
		}
	}
}
