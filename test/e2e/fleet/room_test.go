// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"strings"
	"testing"

	"husk/openapi"
	"husk/test/stack"
)

// A pod waits although enough is free, because it is free on two nodes. A running pod moves, without being restarted, and both run.
func TestAPodMovesForOneThatWaits(t *testing.T) {
	f := stack.StartFleet(t, 3)
	tn := f.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	nodes, err := f.Operator.Nodes.List(t.Context())
	if err != nil || len(nodes) != 3 {
		t.Fatalf("%d nodes: %v", len(nodes), err)
	}
	for _, n := range nodes {
		if _, err := f.Operator.Nodes.Update(t.Context(), n.ID, openapi.NodeUpdate{Labels: &openapi.Labels{"called": n.Name}}); err != nil {
			t.Fatal(err)
		}
	}
	all := nodes[0].SchedulableCPUMillis
	create := func(name string, millis int, scheduling *openapi.Scheduling) openapi.Pod {
		return tn.Create(t, name, func(s *openapi.PodSpec) {
			s.Resources = openapi.Resources{CPUMillis: millis, MemoryMiB: 128}
			s.Scheduling = scheduling
			s.Containers = []openapi.Container{stack.Shell(busybox, "echo began; exec sleep 1000000")}
		})
	}
	on := func(node string) *openapi.Scheduling {
		return &openapi.Scheduling{NodeSelector: &openapi.NodeSelector{"called": node}}
	}
	small := create("small", all/2, &openapi.Scheduling{PreferredNodeSelector: &openapi.NodeSelector{"called": "n1"}})
	fills := []openapi.Pod{small, create("half", all/2, on("n2")), create("whole", all, on("n3"))}
	tn.Running(t, fills...)
	if at := f.NodeOf(t, small.ID).Name; at != "n1" {
		t.Fatalf("pod small is on %s", at)
	}
	large := create("large", all*3/4, nil)
	tn.Wait(t, large.ID, openapi.PodPhaseRunning)
	if at := f.NodeOf(t, large.ID).Name; at != "n1" {
		t.Errorf("pod large is on %s", at)
	}
	if at := f.NodeOf(t, small.ID).Name; at != "n2" {
		t.Errorf("pod small is on %s", at)
	}
	now, err := tn.Get(t.Context(), small.ID)
	if err == nil && (now.Status.Phase != openapi.PodPhaseRunning || *now.Status.Address != *fills[0].Status.Address) {
		err = fmt.Errorf("%s at %s", now.Status.Phase, *now.Status.Address)
	}
	if err != nil {
		t.Errorf("pod small after its move: %v", err)
	}
	if began := strings.Count(tn.Logs(t, small.ID, nil), "began"); began != 1 {
		t.Errorf("the program of pod small was started %d times", began)
	}
}
