// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"husk/dev"
	"husk/dev/fabric"
	"husk/openapi"
	"husk/test/onewriter"
	"husk/test/stack"
)

// A volume has one writer at a time, whatever fails.
func TestFailover(t *testing.T) {
	f := stack.StartFleet(t, 3)
	tn := f.NewTenant(t)
	image := onewriter.Image(t, tn)
	for name, test := range map[string]func(*testing.T, *stack.Fleet, *stack.Tenant, string){
		"a dead node":                  aPodMovesOffADeadNode,
		"a late write":                 aLateWriteFails,
		"a late write without a fence": aLateWriteWithoutAFence,
		"a dead agent":                 aDeadAgent,
		"no answers of servers":        noAnswersOfServers,
		"services of a dead node":      connectionsGoToOtherNodes,
		"most nodes are silent":        nothingMovesIfMostNodesAreSilent,
	} {
		t.Run(name, func(t *testing.T) {
			test(t, f, tn, image)
			f.Repaired(t)
		})
	}
}

// A pod with a volume moves off a node that has lost its power, by itself, with its address and every record that it has stored. The node
// comes back, and is used again.
func aPodMovesOffADeadNode(t *testing.T, f *stack.Fleet, tn *stack.Tenant, image string) {
	h := onewriter.Start(t, tn, image, "writer", nil)
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

// A machine that hangs while its pod moves, with an agent and a watchdog that are dead, writes nothing when it continues, although a write is
// on its way from the machine to Ceph.
func aLateWriteFails(t *testing.T, f *stack.Fleet, tn *stack.Tenant, image string) {
	if err := lateWrite(t, f, tn, image, "late", func() {}); err != nil {
		t.Error(err)
	}
}

// Without the fence, the late write arrives and the checker finds it. Otherwise the test above would not prove the fence.
func aLateWriteWithoutAFence(t *testing.T, f *stack.Fleet, tn *stack.Tenant, image string) {
	err := lateWrite(t, f, tn, image, "late-unfenced", func() {
		out, err := exec.CommandContext(t.Context(), "ceph", "-c", tn.Env["HUSK_CEPH_CONF"], "osd", "blocklist", "clear").CombinedOutput()
		if err != nil {
			t.Fatalf("clear the blocklist: %v: %s", err, out)
		}
	})
	if err == nil {
		t.Error("nothing has prevented a late write, but the checker finds nothing")
	}
	t.Logf("without a fence: %v", err)
}

func lateWrite(t *testing.T, f *stack.Fleet, tn *stack.Tenant, image, name string, unfence func()) error {
	t.Helper()
	h := onewriter.Start(t, tn, image, name, nil)
	h.Writes(t, 1, 20)
	node := f.NodeOf(t, h.Pod.ID)
	qemu := node.QEMU(h.Pod.ID)
	node.Process("agent").Hold(t)
	node.Process("watchdog").Kill(t)
	node.Cut(t, dev.FromCeph, fabric.Both)
	time.Sleep(2 * time.Second) // the writer waits for a write that does not arrive
	qemu.Freeze(t)
	node.Await(t, openapi.NodeStateFenced)
	h.Writes(t, 2, 20)
	unfence()
	qemu.Thaw(t)
	node.Heal(t)
	// Its connections are broken, so that it opens new ones and sends the write at once. TCP by itself repeats it after up to a minute.
	if out, err := exec.CommandContext(t.Context(), "nsenter", "-t", strconv.Itoa(qemu.PID(t)), "-n", "ss", "-K", "-t").CombinedOutput(); err != nil {
		t.Fatalf("break the machine's connections: %v: %s", err, out)
	}
	time.Sleep(10 * time.Second) // the write arrives, or is refused
	h.Writes(t, 2, 40)
	node.Process("agent").Release(t)
	node.Await(t, openapi.NodeStateReady)
	return h.Check(t)
}

// The watchdog of a node whose agent is dead ends the machines that write volumes, before the servers start them elsewhere.
func aDeadAgent(t *testing.T, f *stack.Fleet, tn *stack.Tenant, image string) {
	withoutLease(t, f, tn, image, "agentless", func(node *stack.Host) { node.Process("agent").Hold(t) }, func(node *stack.Host) { node.Process("agent").Release(t) })
}

// So does a node that hears nothing from the servers, although these hear its requests.
func noAnswersOfServers(t *testing.T, f *stack.Fleet, tn *stack.Tenant, image string) {
	withoutLease(t, f, tn, image, "deaf", func(node *stack.Host) { node.Cut(t, dev.FromServers, fabric.In) }, func(node *stack.Host) { node.Heal(t) })
}

func withoutLease(t *testing.T, f *stack.Fleet, tn *stack.Tenant, image, name string, provoke, repair func(*stack.Host)) {
	t.Helper()
	h := onewriter.Start(t, tn, image, name, nil)
	h.Writes(t, 1, 20)
	node := f.NodeOf(t, h.Pod.ID)
	provoke(node)
	stack.Eventually(t, time.Minute, func() error {
		state, err := node.State(t.Context())
		if err == nil && node.QEMU(h.Pod.ID).PID(t) != 0 {
			if state == openapi.NodeStateFenced {
				t.Error("the machine still runs when its node is fenced")
				return nil
			}
			err = fmt.Errorf("the machine runs, and the node is %s", state)
		}
		return err
	})
	h.Writes(t, 2, 20)
	repair(node)
	node.Await(t, openapi.NodeStateReady)
	if err := h.Check(t); err != nil {
		t.Error(err)
	}
}

// If most nodes are silent at once, nothing is moved.
func nothingMovesIfMostNodesAreSilent(t *testing.T, f *stack.Fleet, tn *stack.Tenant, image string) {
	h := onewriter.Start(t, tn, image, "stays", nil)
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
