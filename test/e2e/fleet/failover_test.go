// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"husk/dev"
	"husk/dev/fabric"
	"husk/openapi"
	"husk/test/onewriter"
	"husk/test/stack"
)

// A pod with a volume moves off a node that has lost its power, by itself, with its address and every record that it has stored. The node
// comes back, and is used again.
func TestAPodMovesOffADeadNode(t *testing.T) {
	f := stack.StartFleet(t, 3)
	tn := f.NewTenant(t)
	h := onewriter.Start(t, tn, onewriter.Image(t, tn), "writer", nil)
	before := tn.Wait(t, h.Pod.ID, openapi.PodPhaseRunning)
	h.Writes(t, 1, 20)
	dead := f.NodeOf(t, h.Pod.ID)
	dead.Kill(t)
	killed := time.Now()
	dead.Await(t, openapi.NodeStateFenced)
	fenced := time.Since(killed)
	h.Writes(t, 2, 20)
	after := tn.Wait(t, h.Pod.ID, openapi.PodPhaseRunning)
	since := func(at *time.Time) time.Duration { return at.Sub(killed).Round(100 * time.Millisecond) }
	at := after.Status.Timeline
	t.Logf("after the node was killed: fenced %s, placed %s, machine started %s, guest ready %s, running %s",
		fenced.Round(100*time.Millisecond), since(at.PlacedAt), since(at.DomainStartedAt), since(at.GuestReadyAt), since(at.RunningAt))
	if after.Status.Address == nil || *after.Status.Address != *before.Status.Address {
		t.Errorf("the pod's address was %v and is %v", before.Status.Address, after.Status.Address)
	}
	if now := f.NodeOf(t, h.Pod.ID); now.Name == dead.Name {
		t.Errorf("the pod runs on %s", now.Name)
	}
	dead.Start(t)
	dead.Await(t, openapi.NodeStateReady)
	if err := h.Check(t); err != nil {
		t.Error(err)
	}
}

// A machine that hangs while its pod moves, with an agent and a watchdog that are dead, writes nothing when it continues.
func TestALateWriteFails(t *testing.T) {
	f := stack.StartFleet(t, 3)
	tn := f.NewTenant(t)
	image := onewriter.Image(t, tn)
	for _, fenced := range []bool{true, false} {
		t.Run(fmt.Sprintf("fenced=%t", fenced), func(t *testing.T) {
			h := onewriter.Start(t, tn, image, fmt.Sprintf("late-%t", fenced), nil)
			h.Writes(t, 1, 20)
			node := f.NodeOf(t, h.Pod.ID)
			qemu := node.QEMU(h.Pod.ID)
			node.Process("agent").Hold(t)
			node.Process("watchdog").Kill(t)
			qemu.Freeze(t)
			node.Await(t, openapi.NodeStateFenced)
			if !fenced {
				unfence(t, tn) // a client that has not noticed that it was fenced writes on
			}
			h.Writes(t, 2, 20)
			qemu.Thaw(t)
			time.Sleep(5 * time.Second) // its late writes
			h.Writes(t, 2, 40)
			node.Process("agent").Release(t)
			node.Await(t, openapi.NodeStateReady)
			err := h.Check(t)
			if fenced && err != nil {
				t.Error(err)
			}
			if !fenced && err == nil {
				t.Error("without a fence, the checker finds nothing: it proves nothing about the fence either")
			}
			t.Logf("the checker: %v", err)
		})
	}
}

// unfence removes every client from the blocklist.
func unfence(t *testing.T, tn *stack.Tenant) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ceph", "-c", tn.Env["HUSK_CEPH_CONF"], "osd", "blocklist", "clear").CombinedOutput()
	if err != nil {
		t.Fatalf("clear the blocklist: %v: %s", err, out)
	}
}

// A node that has lost the servers ends the machines that write volumes by itself, before the servers start them elsewhere. Other machines run on.
func TestANodeWithoutALeaseEndsItsWriters(t *testing.T) {
	f := stack.StartFleet(t, 3)
	tn := f.NewTenant(t)
	image := onewriter.Image(t, tn)
	h := onewriter.Start(t, tn, image, "cut", nil)
	h.Writes(t, 1, 20)
	node := f.NodeOf(t, h.Pod.ID)
	for name, cut := range map[string]func(){
		"the agent is dead":          func() { node.Process("agent").Hold(t) },
		"the servers are cut off":    func() { node.Cut(t, dev.FromServers, fabric.Both) },
		"answers of servers are cut": func() { node.Cut(t, dev.FromServers, fabric.In) },
	} {
		t.Log(name)
		node = f.NodeOf(t, h.Pod.ID)
		runs := h.Runs()
		cut()
		stack.Eventually(t, time.Minute, func() error {
			state, err := node.State(t.Context())
			if err == nil && node.QEMU(h.Pod.ID).PID(t) != 0 {
				if state == openapi.NodeStateFenced {
					t.Errorf("%s: the machine still runs when its node is fenced", name)
					return nil
				}
				err = fmt.Errorf("the machine runs, and the node is %s", state)
			}
			return err
		})
		h.Writes(t, runs+1, 20)
		node.Heal(t)
		node.Process("agent").Release(t)
		node.Await(t, openapi.NodeStateReady)
	}
	if err := h.Check(t); err != nil {
		t.Error(err)
	}
}

// If most nodes are silent at once, nothing is moved.
func TestNothingMovesIfMostNodesAreSilent(t *testing.T) {
	f := stack.StartFleet(t, 3)
	tn := f.NewTenant(t)
	h := onewriter.Start(t, tn, onewriter.Image(t, tn), "stays", nil)
	h.Writes(t, 1, 20)
	node := f.NodeOf(t, h.Pod.ID)
	frozen := []*stack.Host{node}
	for i := 1; len(frozen) < 2; i++ {
		if f.Node(i).Name != node.Name {
			frozen = append(frozen, f.Node(i))
		}
	}
	for _, n := range frozen {
		n.Freeze(t)
	}
	node.Await(t, openapi.NodeStateLost)
	stack.Eventually(t, 20*time.Second, func() error {
		n, err := tn.Operator.Nodes.Find(t.Context(), node.Name)
		if err == nil && !strings.Contains(stack.Value(n.Message), "too many nodes are silent") {
			err = fmt.Errorf("the node says %q", stack.Value(n.Message))
		}
		return err
	})
	time.Sleep(10 * time.Second)
	if state, err := node.State(t.Context()); err != nil || state != openapi.NodeStateLost {
		t.Errorf("the node is %s, %v", state, err)
	}
	for _, n := range frozen {
		n.Thaw(t)
		n.Await(t, openapi.NodeStateReady)
	}
	tn.Wait(t, h.Pod.ID, openapi.PodPhaseRunning)
	if err := h.Check(t); err != nil {
		t.Error(err)
	}
}
