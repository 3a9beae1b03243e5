// SPDX-License-Identifier: Apache-2.0

// Package moves has what tests need to move pods of a fleet with their memory, and to cut moves in the middle.
package moves

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"husk/client"
	"husk/dev/fabric"
	"husk/openapi"
	"husk/test/onewriter"
	"husk/test/stack"
)

// Move moves a pod and waits until its machine is only on another node, and the server says so. It returns the downtime that an event says.
func Move(t *testing.T, f *stack.Fleet, tn *stack.Tenant, pod openapi.Pod) string {
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
	return Finished(t, tn, pod)
}

// Events returns the events of a pod, one a line.
func Events(t *testing.T, tn *stack.Tenant, pod openapi.Pod) string {
	t.Helper()
	var text strings.Builder
	for e, err := range tn.API.Events.List(t.Context(), client.EventSelect{Object: pod.ID}) {
		if err != nil {
			t.Fatal(err)
		}
		message := ""
		if e.Message != nil {
			message = *e.Message
		}
		fmt.Fprintln(&text, e.At.Format(time.TimeOnly), e.Reason, message)
	}
	return text.String()
}

// Finished returns what the last event says about a move of the pod.
func Finished(t *testing.T, tn *stack.Tenant, pod openapi.Pod) string {
	t.Helper()
	last := "no event"
	for e, err := range tn.API.Events.List(t.Context(), client.EventSelect{Object: pod.ID}) {
		if err == nil && e.Reason == "MoveFinished" && e.Message != nil {
			last = *e.Message
		}
	}
	return last
}

// Cut is a fault in the middle of a move.
type Cut struct {
	stage, what string
	do          func(t *testing.T, f *stack.Fleet, from, to *stack.Host, pod openapi.Pod)
	short       bool // also without -moves
}

// The stages of a move. Each waits until the move is there.
var stages = map[string]func(t *testing.T, f *stack.Fleet, pod openapi.Pod) error{
	"begun": func(*testing.T, *stack.Fleet, openapi.Pod) error { return nil },
	"memory moves": func(t *testing.T, f *stack.Fleet, pod openapi.Pod) error {
		if on := f.NodesOf(t, pod.ID); len(on) != 2 {
			return fmt.Errorf("machines on %v", on)
		}
		return nil
	},
	"switched": func(_ *testing.T, f *stack.Fleet, pod openapi.Pod) error {
		if n, err := f.SQL("SELECT count(*) FROM placements WHERE role = 'incoming' AND pod_id = '" + pod.ID.String() + "'"); err != nil || strings.TrimSpace(n) != "0" {
			return fmt.Errorf("incoming: %s, %w", n, err)
		}
		return nil
	},
}

// Cuts are all cuts.
var Cuts = []Cut{
	{"begun", "the agent of the source dies", func(t *testing.T, _ *stack.Fleet, from, _ *stack.Host, _ openapi.Pod) { from.Process("agent").Kill(t) }, false},
	{"memory moves", "the agent of the source dies", func(t *testing.T, _ *stack.Fleet, from, _ *stack.Host, _ openapi.Pod) { from.Process("agent").Kill(t) }, true},
	{"memory moves", "the agent of the destination dies", func(t *testing.T, _ *stack.Fleet, _, to *stack.Host, _ openapi.Pod) { to.Process("agent").Kill(t) }, false},
	{"memory moves", "libvirt of the source dies", func(t *testing.T, _ *stack.Fleet, from, _ *stack.Host, _ openapi.Pod) {
		from.Process("libvirtd").Kill(t)
	}, false},
	{"memory moves", "libvirt of the destination dies", func(t *testing.T, _ *stack.Fleet, _, to *stack.Host, _ openapi.Pod) { to.Process("libvirtd").Kill(t) }, false},
	{"memory moves", "the machine of the source dies", func(t *testing.T, _ *stack.Fleet, from, _ *stack.Host, pod openapi.Pod) { from.QEMU(pod.ID).Kill(t) }, false},
	{"memory moves", "the machine of the destination dies", func(t *testing.T, _ *stack.Fleet, _, to *stack.Host, pod openapi.Pod) { to.QEMU(pod.ID).Kill(t) }, false},
	{"memory moves", "the link between the nodes is cut", func(t *testing.T, _ *stack.Fleet, from, to *stack.Host, _ openapi.Pod) {
		from.Cut(t, to.Name, fabric.Both)
		time.Sleep(20 * time.Second)
		from.Heal(t)
	}, false},
	{"memory moves", "the source loses its power", func(t *testing.T, _ *stack.Fleet, from, _ *stack.Host, _ openapi.Pod) {
		from.Kill(t)
		from.Await(t, openapi.NodeStateFenced)
		from.Start(t)
	}, false},
	{"memory moves", "the destination loses its power", func(t *testing.T, _ *stack.Fleet, _, to *stack.Host, _ openapi.Pod) {
		to.Kill(t)
		to.Await(t, openapi.NodeStateFenced)
		to.Start(t)
	}, false},
	{"memory moves", "no server decides, and the agent of the source dies", func(t *testing.T, f *stack.Fleet, from, _ *stack.Host, _ openapi.Pod) {
		undecided(t, f, from.Process("agent"))
	}, true},
	{"memory moves", "no server decides, and the agent of the destination dies", func(t *testing.T, f *stack.Fleet, _, to *stack.Host, _ openapi.Pod) {
		undecided(t, f, to.Process("agent"))
	}, false},
	{"memory moves", "no server decides, and both servers die", func(t *testing.T, f *stack.Fleet, _, _ *stack.Host, _ openapi.Pod) {
		undecided(t, f, f.Server(1).Process("server"), f.Server(2).Process("server"))
	}, false},
	{"switched", "the agent of the source dies", func(t *testing.T, _ *stack.Fleet, from, _ *stack.Host, _ openapi.Pod) { from.Process("agent").Kill(t) }, false},
	{"switched", "the agent of the destination dies", func(t *testing.T, _ *stack.Fleet, _, to *stack.Host, _ openapi.Pod) { to.Process("agent").Kill(t) }, true},
	{"switched", "libvirt of the destination dies", func(t *testing.T, _ *stack.Fleet, _, to *stack.Host, _ openapi.Pod) { to.Process("libvirtd").Kill(t) }, false},
	{"switched", "the source loses its power", func(t *testing.T, _ *stack.Fleet, from, _ *stack.Host, _ openapi.Pod) {
		from.Kill(t)
		from.Await(t, openapi.NodeStateFenced)
		from.Start(t)
	}, false},
}

// undecided stops the servers until the memory has moved, and kills processes while nobody decides where the machine continues.
func undecided(t *testing.T, f *stack.Fleet, kill ...*stack.Process) {
	t.Helper()
	f.Server(1).Process("server").Freeze(t)
	f.Server(2).Process("server").Freeze(t)
	time.Sleep(5 * time.Second)
	for _, p := range kill {
		p.Kill(t)
	}
	if len(kill) == 1 {
		f.Server(1).Process("server").Thaw(t)
		f.Server(2).Process("server").Thaw(t)
	}
}

// Run moves the pod of a writer once for each cut. Whatever ends the move in the middle: the pod continues or starts again on exactly one node, and nobody
// else writes its volume.
func Run(t *testing.T, f *stack.Fleet, tn *stack.Tenant, h *onewriter.History, all bool) {
	t.Helper()
	for _, c := range Cuts {
		if c.short || all {
			t.Run(c.stage+": "+c.what, func(t *testing.T) { c.run(t, f, tn, h) })
		}
	}
	t.Run("a move that nothing cuts", func(t *testing.T) {
		begin(t, f, tn, h.Pod)
		Settled(t, f, tn, h.Pod)
		h.WritesOn(t, 10)
	})
	if err := h.Check(t); err != nil {
		t.Error(err)
	}
}

// begin begins a move with memory, as soon as the pod can be moved.
func begin(t *testing.T, f *stack.Fleet, tn *stack.Tenant, pod openapi.Pod) {
	t.Helper()
	stack.Eventually(t, 2*time.Minute, func() error {
		m, err := f.Operator.Tenants.Move(t.Context(), tn.ID, pod.ID, openapi.MovePut{})
		if err == nil && !m.Live {
			t.Fatalf("the move is %+v", m)
		}
		return err
	})
}

func (c Cut) run(t *testing.T, f *stack.Fleet, tn *stack.Tenant, h *onewriter.History) {
	from := f.NodeOf(t, h.Pod.ID)
	to := f.Node(1)
	if from.Name == to.Name {
		to = f.Node(2)
	}
	begin(t, f, tn, h.Pod)
	runs := h.Runs()
	deadline := time.Now().Add(time.Minute)
	for stages[c.stage](t, f, h.Pod) != nil {
		if time.Now().After(deadline) {
			t.Fatal(stages[c.stage](t, f, h.Pod))
		}
		time.Sleep(5 * time.Millisecond)
	}
	c.do(t, f, from, to, h.Pod)
	f.Repaired(t)
	Settled(t, f, tn, h.Pod)
	t.Logf("the pod runs on %s, and was on %s; its program was started %d times, and %d times before", f.NodeOf(t, h.Pod.ID).Name, from.Name, h.Runs(), runs)
	h.WritesOn(t, 10)
}

// Settled waits until a pod runs on one node and does not move.
func Settled(t *testing.T, f *stack.Fleet, tn *stack.Tenant, pod openapi.Pod) {
	t.Helper()
	stack.Eventually(t, 3*time.Minute, func() error {
		n, err := f.SQL("SELECT count(*) FROM placements WHERE role IN ('incoming', 'leaving')")
		if err != nil || strings.TrimSpace(n) != "0" {
			return fmt.Errorf("%s placements are incoming or leaving, %w", n, err)
		}
		now, err := tn.API.Pods.Get(t.Context(), pod.ID)
		on := f.NodesOf(t, pod.ID)
		if err == nil && (now.Status.Phase != openapi.PodPhaseRunning || now.Status.NodeName == nil || len(on) != 1 || on[0] != *now.Status.NodeName) {
			err = fmt.Errorf("the pod is %s on %v, and has machines on %v", now.Status.Phase, now.Status.NodeName, on)
		}
		return err
	})
}
