// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"slices"
	"testing"

	"husk"
	"husk/store"
)

// beat sends a heartbeat as the node's agent does while the node recovers.
func (h fixture) beat(n husk.Node, machines int) (recovering bool) {
	h.t.Helper()
	revision, _, err := h.DesiredRevision(h.t.Context(), n.ID)
	must(h.t, revision, err)
	_, recovering, err = h.Heartbeat(h.t.Context(), store.Beat{Node: n, Machines: machines, Revision: revision})
	return must(h.t, recovering, err)
}

func (h fixture) wantState(node husk.Node, want husk.NodeState, when string) {
	h.t.Helper()
	if got := h.getNode(node.ID).State; got != want {
		h.t.Errorf("%s, the node is %s, want %s", when, got, want)
	}
}

// move moves pods of a node in batches of one, and returns how many.
func (h fixture) move(node husk.Node) (moved int) {
	h.t.Helper()
	for {
		n, err := h.MovePods(h.t.Context(), h.epoch(), h.getNode(node.ID), 1)
		if must(h.t, n, err); n == 0 {
			return moved
		}
		moved += n
	}
}

func (h fixture) lose(node husk.Node) {
	h.t.Helper()
	if lost, err := h.SetNodeState(h.t.Context(), h.epoch(), h.getNode(node.ID), husk.NodeLost); err != nil || !lost {
		h.t.Fatalf("lost: %t, %v", lost, err)
	}
}

func (h fixture) fence(node husk.Node) {
	h.t.Helper()
	if all, ok, err := h.BeginFence(h.t.Context(), h.epoch(), node.ID, []string{"192.0.2.7:0/1"}); err != nil || !ok || len(all) != 1 {
		h.t.Fatalf("begin: %v, %t, %v", all, ok, err)
	}
	h.wantState(node, husk.NodeFencing, "when the fence has begun")
	if h.move(node) != 0 {
		h.t.Error("pods have moved before the fence was confirmed")
	}
	if ok, err := h.SetFenced(h.t.Context(), h.epoch(), node.ID); err != nil || !ok {
		h.t.Fatalf("fenced: %t, %v", ok, err)
	}
}

func TestPodsMoveOffAFencedNode(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node, other := h.tenant(), h.node(10), h.node(10)
	image := h.image(tenant)
	volumes := []husk.Volume{h.volume(tenant), h.volume(tenant), h.volume(tenant), h.volume(tenant)}
	stateless := h.createPod(tenant, specOf(image))
	stateful := h.createPod(tenant, specOf(image, volumes[0]))
	once := specOf(image, volumes[1])
	once.RestartPolicy = husk.RestartNever
	never := h.createPod(tenant, once)
	deleted := h.createPod(tenant, specOf(image, volumes[2]))
	halted := h.createPod(tenant, specOf(image, volumes[3]))
	pods := []husk.Pod{stateless, stateful, never, deleted, halted}
	h.place(node.ID, pods...)
	for _, p := range pods {
		h.report(node.ID, p, husk.EventRunning)
	}
	h.bringTo(husk.PhaseStopping, node, deleted)
	if _, err := h.as(tenant.ID).StopPod(t.Context(), halted.ID); err != nil {
		t.Fatal(err)
	}
	want := func(when string, phases ...husk.Phase) {
		t.Helper()
		for i, p := range pods {
			if got := h.phase(p); got != phases[i] {
				t.Errorf("%s, pod %d is %s, want %s", when, i, got, phases[i])
			}
		}
	}
	before, err := h.as(tenant.ID).Pod(t.Context(), stateful.ID)
	must(t, before, err)

	h.lose(node)
	if n, err := h.MarkPodsUnknown(t.Context(), h.epoch(), 10); err != nil || n != 5 {
		t.Errorf("%d pods became unknown, want all: %v", n, err)
	}
	if moved := h.move(node); moved != 1 {
		t.Errorf("%d pods have moved off a node that is not fenced, want the one without volumes", moved)
	}
	want("when the node is lost", husk.PhasePending, husk.PhaseRunning, husk.PhaseRunning, husk.PhaseStopping, husk.PhaseStopping)
	h.fence(node)
	if moved := h.move(node); moved != 4 {
		t.Errorf("%d pods have moved off the fenced node, want 4", moved)
	}
	want("when the node is fenced", husk.PhasePending, husk.PhasePending, husk.PhaseFailed, husk.PhaseGone, husk.PhaseStopped)
	h.wantAllocated(node.ID, 0)

	// The pod keeps its address and volume. Another pod gets neither.
	h.place(other.ID, stateful)
	after, err := h.as(tenant.ID).Pod(t.Context(), stateful.ID)
	if must(t, after, err); after.Status.Address != before.Status.Address || after.Status.NodeName != other.Name {
		t.Errorf("the pod is %+v, and was %+v", after.Status, before.Status)
	}
	if _, err := h.as(tenant.ID).CreatePod(t.Context(), store.NewIdempotency("", "test", "/v1/test", nil), named("thief"), map[string]string{}, nil, specOf(image, volumes[0])); husk.CodeOf(err) != husk.CodeVolumeInUse {
		t.Errorf("another pod can have the volume: %v", err)
	}
	// What the old node still says about the pod is late.
	for _, r := range []husk.PodReport{
		{PodID: stateful.ID, Placement: 1, Generation: 100, Event: husk.EventGone},
		{PodID: stateful.ID, Placement: 1, Generation: 100, Event: husk.EventFailed},
	} {
		for _, from := range []store.ID{node.ID, other.ID} {
			if err := h.Report(t.Context(), from, []husk.PodReport{r}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := h.phase(stateful); got != husk.PhaseStarting {
		t.Errorf("a report about the earlier placement made the pod %s", got)
	}
	roles := func() []string {
		return queryOne[[]string](h, store.RoleControl, "SELECT COALESCE(array_agg(number || ' ' || role ORDER BY number), '{}') FROM placements WHERE pod_id = $1", stateful.ID)
	}
	if got := roles(); !slices.Equal(got, []string{"1 fenced", "2 active"}) {
		t.Errorf("the pod's placements are %v", got)
	}

	wantCode(t, h.DeleteNode(t.Context(), node.ID), husk.CodeConflict) // it still has the failed pod, and may have machines

	// The node comes back.
	if !h.beat(node, 4) {
		t.Error("the agent is not told that its node recovers")
	}
	h.wantState(node, husk.NodeRecovering, "after a heartbeat")
	if ready, err := h.SetNodeRecovered(t.Context(), h.epoch(), node.ID); err != nil || ready {
		t.Errorf("a node with machines is Ready: %t, %v", ready, err)
	}
	if _, err := h.connect(store.RoleControl).Exec(t.Context(), "UPDATE nodes SET state = 'Ready' WHERE id = $1", node.ID); err != nil { // as the previous version does
		t.Fatal(err)
	}
	h.wantState(node, husk.NodeRecovering, "after a heartbeat at a server of the previous version")
	h.beat(node, 0)
	if ready, err := h.SetNodeRecovered(t.Context(), h.epoch()+1, node.ID); err != nil || ready {
		t.Errorf("a server that does not lead makes the node Ready: %t, %v", ready, err)
	}
	if ready, err := h.SetNodeRecovered(t.Context(), h.epoch(), node.ID); err != nil || !ready {
		t.Errorf("a node without machines is not Ready: %t, %v", ready, err)
	}
	if got := roles(); !slices.Equal(got, []string{"2 active"}) {
		t.Errorf("after the node's return, the pod's placements are %v", got)
	}
	if n := h.getNode(node.ID); len(n.FenceAddresses) > 0 || n.FencedAt != nil || n.Clean {
		t.Errorf("the node is %+v", n)
	}
}

func TestANodeThatRespondsBeforeItIsFencedIsReady(t *testing.T) {
	t.Parallel()
	h := open(t)
	node := h.node(1)
	h.lose(node)
	if h.beat(node, 3) {
		t.Error("a node that was not fenced recovers")
	}
	h.wantState(node, husk.NodeReady, "after a heartbeat")
	if _, begun, err := h.BeginFence(t.Context(), h.epoch(), node.ID, nil); err != nil || begun {
		t.Errorf("the leader fences a node that is Ready again: %t, %v", begun, err)
	}
	fenced, err := h.FenceNode(t.Context(), node.ID, []string{"192.0.2.7:0/1"}, false) // by an operator
	if must(t, fenced, err); fenced.State != husk.NodeFencing {
		t.Errorf("the node is %s", fenced.State)
	}
	h.beat(node, 0)
	h.wantState(node, husk.NodeFencing, "after a heartbeat while it is being fenced")
}
