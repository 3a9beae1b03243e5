// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"testing"

	"github.com/google/uuid"

	"husk"
	"husk/store"
	"husk/store/lifecycle"
)

func TestANodeIsDeletedOnlyWhenItRunsNothing(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(1)
	pod := h.createPod(tenant, specOf(h.image(tenant)))
	h.place(node.ID, pod)
	wantCode(t, h.DeleteNode(t.Context(), node.ID), husk.CodeConflict)
	h.bringTo(husk.PhaseStopping, node, pod)
	wantCode(t, h.DeleteNode(t.Context(), node.ID), husk.CodeConflict)
	h.report(node.ID, pod, husk.EventGone)
	wantCode(t, h.DeleteNode(t.Context(), node.ID), "")
	wantCode(t, h.DeleteNode(t.Context(), node.ID), husk.CodeNotFound)
	_, _, err := h.Heartbeat(t.Context(), store.Beat{Node: husk.Node{ID: node.ID}})
	wantCode(t, err, husk.CodeNotFound)
	_, err = h.Desired(t.Context(), node.ID, nil)
	wantCode(t, err, husk.CodeNotFound)
	_, err = h.Desired(t.Context(), node.ID, new(int64))
	wantCode(t, err, husk.CodeNotFound)
	_, err = h.Node(t.Context(), uuid.New())
	wantCode(t, err, husk.CodeNotFound)
}

// The node of a pod without a key has nothing of the pod, and never reports it.
func TestAPodWithoutAKeyIsKnown(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(4)
	pod := h.createPod(tenant, specOf(h.image(tenant)))
	h.place(node.ID, pod)
	h.exec("UPDATE pods SET ceph_key = NULL")
	h.lose(node)
	if n, err := h.MarkPodsUnknown(t.Context(), h.epoch(), 10); err != nil || n != 0 {
		t.Errorf("%d pods became unknown, want none: %v", n, err)
	}
	h.heartbeat(node)
	if h.heartbeat(node) {
		t.Error("a node is asked again to report a pod that it does not have")
	}
}

func TestALostNodeReportsAgainUntilItsPodsAreKnown(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(5)
	image := h.image(tenant)
	create := func() husk.Pod { return h.createPod(tenant, specOf(image)) }
	starting, running, ended, stopping, halted := create(), create(), create(), create(), create()
	h.place(node.ID, starting, running, ended, stopping, halted)
	h.bringTo(husk.PhaseRunning, node, running)
	h.bringTo(husk.PhaseRunning, node, halted)
	h.bringTo(husk.PhaseSucceeded, node, ended)
	h.bringTo(husk.PhaseStopping, node, stopping)

	judged := h.getNode(node.ID)
	if h.heartbeat(node) {
		t.Error("a node that was Ready is asked to report its pods again")
	}
	if lost, err := h.SetNodeState(t.Context(), h.epoch(), judged, husk.NodeLost); err != nil || lost {
		t.Errorf("a node that has sent a heartbeat in the meantime became Lost: %v", err)
	}
	if lost, err := h.SetNodeState(t.Context(), h.epoch()+1, h.getNode(node.ID), husk.NodeLost); err != nil || lost {
		t.Errorf("a leader of another epoch made a node Lost: %v", err)
	}
	if lost, err := h.SetNodeState(t.Context(), h.epoch(), h.getNode(node.ID), husk.NodeLost); err != nil || !lost {
		t.Errorf("lost %v: %v", lost, err)
	}
	for i, want := range []int{1, 1, 1, 1, 0} { // one pod at a time
		if n, err := h.MarkPodsUnknown(t.Context(), h.epoch(), 1); err != nil || n != want {
			t.Errorf("in step %d, %d pods became unknown, want %d: %v", i, n, want, err)
		}
	}
	if lost, err := h.SetNodeState(t.Context(), h.epoch(), h.getNode(node.ID), husk.NodeLost); err != nil || lost {
		t.Errorf("a Lost node became Lost again: %v", err)
	}
	for p, want := range map[*husk.Pod]husk.Phase{
		&starting: husk.PhaseStarting, &running: husk.PhaseRunning, &ended: husk.PhaseSucceeded, &stopping: husk.PhaseStopping, &halted: husk.PhaseRunning,
	} {
		got, err := h.as(p.TenantID).Pod(t.Context(), p.ID)
		if must(t, got, err); got.Status.Phase != want || got.Status.Ready {
			t.Errorf("a pod is %s, ready %v, want %s and not ready", got.Status.Phase, got.Status.Ready, want)
		}
		if unknown := got.Status.UnknownSince != nil; unknown != (want != husk.PhaseSucceeded) || unknown != (got.Status.Reason == husk.ReasonNodeLost) {
			t.Errorf("a pod that is %s on a lost node is unknown since %v, with the reason %q", want, got.Status.UnknownSince, got.Status.Reason)
		}
	}
	if _, unknown, err := h.PodPhases(t.Context()); err != nil || unknown != 4 {
		t.Errorf("%d pods are counted as unknown, want 4: %v", unknown, err)
	}
	// What needs the node waits until it responds.
	evicted, err := h.Evict(t.Context(), h.epoch(), []store.Eviction{{Pod: keyOf(running), Node: node.ID}}, "Preempted", "for another")
	if must(t, evicted, err); len(evicted) != 0 {
		t.Error("a pod is evicted from a node that does not respond")
	}
	_, err = h.as(tenant.ID).ResizePod(t.Context(), running.ID, lifecycle.Size{MemoryMiB: new(running.Spec.Resources.MemoryMiB * 2)})
	wantCode(t, err, husk.CodeConflict)
	moving, err := h.Moves().Pod(t.Context(), tenant.ID, running.ID)
	if must(t, moving, err); moving.Unready() != "its node does not respond" {
		t.Errorf("a pod may move from a node that does not respond: %q", moving.Unready())
	}
	// A change that a tenant makes meanwhile tells nothing about the pod.
	changed, err := h.as(tenant.ID).StopPod(t.Context(), halted.ID)
	if must(t, changed, err); changed.Status.UnknownSince == nil {
		t.Error("a pod is known since it was stopped, without a report")
	}
	h.wantAllocated(node.ID, 4) // pods that may still run keep their capacity

	if !h.heartbeat(node) {
		t.Error("a node that was Lost is not asked to report its pods again")
	}
	if !h.heartbeat(node) {
		t.Error("a node whose response was lost is not asked again")
	}
	h.report(node.ID, running, husk.EventRunning)
	h.report(node.ID, starting, husk.EventStarting)
	h.report(node.ID, stopping, husk.EventStopping)
	h.report(node.ID, halted, husk.EventStopping)
	if h.heartbeat(node) {
		t.Error("a node that has reported its pods is asked again")
	}
	if got := h.getNode(node.ID); got.State != husk.NodeReady {
		t.Errorf("the node is %s", got.State)
	}
}

func TestANodeThatShrinksKeepsItsPodsAndGetsNoNewOnes(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(2)
	pod := h.createPod(tenant, specOf(h.image(tenant)))
	h.place(node.ID, pod)
	version := h.version(node.ID)
	h.heartbeat(node)
	if h.version(node.ID) != version {
		t.Error("a heartbeat without a change invalidates placements that are under way")
	}
	h.heartbeat(husk.Node{ID: node.ID, Capacity: husk.Resources{CPUMillis: 1, MemoryMiB: 1}, VMMOverheadMiB: overhead})
	got := h.getNode(node.ID)
	if can := (husk.Resources{CPUMillis: got.SchedulableCPUMillis, MemoryMiB: got.Capacity.MemoryMiB}); can != got.Allocated || h.version(node.ID) == version {
		t.Errorf("the node with less capacity is %+v", got)
	}
	h.bringTo(husk.PhaseStopping, node, pod)
	h.report(node.ID, pod, husk.EventGone)
	h.heartbeat(husk.Node{ID: node.ID, Capacity: husk.Resources{CPUMillis: 1, MemoryMiB: 1}, VMMOverheadMiB: overhead})
	if got := h.getNode(node.ID).Capacity; got != (husk.Resources{CPUMillis: 1, MemoryMiB: 1}) {
		t.Errorf("the empty node has the capacity %+v", got)
	}
}

func TestFreedCapacityIncludesTheOverheadAtPlacement(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(4)
	pod := h.createPod(tenant, specOf(h.image(tenant)))
	h.place(node.ID, pod)
	h.heartbeat(husk.Node{ID: node.ID, Capacity: node.Capacity, VMMOverheadMiB: 3 * overhead})
	h.bringTo(husk.PhaseStopping, node, pod)
	h.report(node.ID, pod, husk.EventGone)
	h.wantAllocated(node.ID, 0)
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	h := open(t)
	ctx := t.Context()
	tenant, other := h.tenant(), h.tenant()
	key, err := h.CreateTenantKey(ctx, tenant.ID, once(), "owner", store.KeyRequest{Name: "ci"})
	must(t, key, err)
	_, err = h.CreateTenantKey(ctx, uuid.New(), once(), "owner", store.KeyRequest{Name: "ci"})
	wantCode(t, err, husk.CodeNotFound)
	_, err = h.Authenticate(ctx, key.ClientID, key.Secret+"x")
	wantCode(t, err, husk.CodeUnauthenticated)
	_, unknown := h.Authenticate(ctx, uuid.New(), key.Secret)
	if err.Error() != unknown.Error() {
		t.Errorf("the error for a wrong secret is %q, and for an unknown ID %q", err, unknown)
	}
	caller, err := h.Authenticate(ctx, key.ClientID, key.Secret)
	if want := (husk.Caller{Kind: husk.CallerTenant, ID: key.ServiceAccountID, KeyID: key.ClientID, Name: "owner", Role: husk.RoleOwner, TenantID: tenant.ID}); must(t, caller, err) != want {
		t.Errorf("the key is of %+v, want %+v", caller, want)
	}
	wantCode(t, h.DeleteTenantKey(ctx, other.ID, key.ClientID), husk.CodeNotFound)
	keys, err := h.TenantKeys(ctx, tenant.ID)
	if must(t, keys, err); len(keys) != 1 || keys[0].Secret != "" || keys[0].LastUsedAt == nil {
		t.Errorf("the keys are %+v", keys)
	}
	wantCode(t, h.DeleteTenantKey(ctx, tenant.ID, key.ClientID), "")
	_, err = h.Authenticate(ctx, key.ClientID, key.Secret)
	wantCode(t, err, husk.CodeUnauthenticated)
}

func TestTheFirstOperatorIsCreatedOnce(t *testing.T) {
	t.Parallel()
	h := open(t)
	id := uuid.New()
	for _, err := range concurrently(5, func(int) error { return h.EnsureOperator(t.Context(), id, "first") }) {
		if err != nil {
			t.Error(err)
		}
	}
	if err := h.EnsureOperator(t.Context(), id, "other"); err != nil { // an existing operator stays
		t.Error(err)
	}
	caller, err := h.Authenticate(t.Context(), id, "first")
	if must(t, caller, err); caller.Kind != husk.CallerOperator {
		t.Errorf("the caller is %+v", caller)
	}
	tenant := h.tenant()
	key, err := h.CreateTenantKey(t.Context(), tenant.ID, once(), "owner", store.KeyRequest{Name: "key"})
	must(t, key, err)
	if err := h.EnsureOperator(t.Context(), key.ClientID, "takeover"); err != nil {
		t.Error(err)
	}
	caller, err = h.Authenticate(t.Context(), key.ClientID, key.Secret)
	if must(t, caller, err); caller.Kind != husk.CallerTenant {
		t.Errorf("a tenant's key became an operator: %+v", caller)
	}
}
