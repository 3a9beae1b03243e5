// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/stack"
)

// A node is drained: its pods run on other nodes before they stop there. One that does not fit elsewhere stays, with the reason. The node can then be
// switched off, and takes pods again after the drain was canceled.
func TestANodeIsDrained(t *testing.T) {
	f := stack.StartFleet(t, 3)
	tn := f.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	first := f.Node(1)
	var pods []openapi.Pod
	create := func(name string, scheduling *openapi.Scheduling) openapi.Pod {
		spec := openapi.PodSpec{
			Resources: openapi.Resources{CPUMillis: 200, MemoryMiB: 128}, Scheduling: scheduling,
			Containers: []openapi.Container{stack.Shell(busybox, "echo began; exec sleep 1000000")},
		}
		pod, err := tn.API.Pods.Create(t.Context(), openapi.PodCreate{Name: name, Spec: spec})
		if err != nil {
			t.Fatal(err)
		}
		pods = append(pods, pod)
		return pod
	}
	n1, err := f.Operator.Nodes.Find(t.Context(), "n1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Operator.Nodes.Update(t.Context(), n1.ID, openapi.NodeUpdate{Labels: &openapi.Labels{"first": "yes"}}); err != nil {
		t.Fatal(err)
	}
	prefers := &openapi.Scheduling{PreferredNodeSelector: &openapi.NodeSelector{"first": "yes"}}
	a, b := create("a", prefers), create("b", prefers)
	tied := create("tied", &openapi.Scheduling{NodeSelector: &openapi.NodeSelector{"first": "yes"}})
	tn.Running(t, pods...)
	for _, p := range pods {
		if on := f.NodeOf(t, p.ID).Name; on != first.Name {
			t.Fatalf("pod %s is on %s", p.Name, on)
		}
	}

	t.Log("drain")
	began := time.Now()
	if _, err := f.Operator.Nodes.Drain(t.Context(), n1.ID, openapi.DrainPut{}); err != nil {
		t.Fatal(err)
	}
	stack.Eventually(t, 2*time.Minute, func() error {
		if n := len(f.NodesOf(t, a.ID)); n == 0 { // a process of the first or of the second machine is always there
			t.Fatal("a pod runs on no node while it moves")
		}
		d, err := f.Operator.Nodes.GetDrain(t.Context(), n1.ID)
		if err == nil && (d.Pods != 1 || d.Moved != 2 || d.Leaving != 0 || len(d.Blocked) != 1) {
			err = fmt.Errorf("the drain is %+v", d)
		}
		return err
	})
	t.Logf("two pods have moved within %s", time.Since(began).Round(100*time.Millisecond))
	for _, p := range []openapi.Pod{a, b} {
		if on := f.NodeOf(t, p.ID).Name; on == first.Name {
			t.Errorf("pod %s is still on %s", p.Name, on)
		}
		now, err := tn.API.Pods.Get(t.Context(), p.ID)
		if err != nil || now.Status.Phase != openapi.PodPhaseRunning || *now.Status.Address != *p.Status.Address {
			t.Errorf("pod %s is %s at %v, %v", p.Name, now.Status.Phase, now.Status.Address, err)
		}
	}
	d, err := f.Operator.Nodes.GetDrain(t.Context(), n1.ID)
	if err != nil || len(d.Blocked) != 1 || d.Blocked[0].ID != tied.ID || !strings.Contains(d.Blocked[0].Message, "required label") {
		t.Errorf("the blocked pods are %+v, %v", d.Blocked, err)
	}
	t.Log("without the pod that is tied to the node")
	if err := tn.API.Pods.Delete(t.Context(), tied.ID); err != nil {
		t.Fatal(err)
	}
	stack.Eventually(t, time.Minute, func() error {
		d, err := f.Operator.Nodes.GetDrain(t.Context(), n1.ID)
		if err == nil && d.State != openapi.DrainStateDrained {
			err = fmt.Errorf("the drain is %+v", d)
		}
		return err
	})
	if err := f.Operator.Nodes.CancelDrain(t.Context(), n1.ID); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Operator.Nodes.Find(t.Context(), "n1"); err != nil || n.Cordoned || n.Drain != nil {
		t.Errorf("after the drain, the node is %+v, %v", n, err)
	}
}
