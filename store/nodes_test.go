// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"testing"

	"github.com/google/uuid"

	"husk"
	"husk/store"
)

func TestANodeIsDeletedOnlyWhenItRunsNothing(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(1)
	pod := h.order(tenant, specOf(h.image(tenant)))
	h.place(node.ID, pod)
	wantCode(t, h.DeleteNode(t.Context(), node.ID), husk.CodeConflict)
	h.to(husk.PhaseStopping, node, pod)
	wantCode(t, h.DeleteNode(t.Context(), node.ID), husk.CodeConflict)
	h.say(node.ID, pod, husk.EventGone)
	wantCode(t, h.DeleteNode(t.Context(), node.ID), "")
	wantCode(t, h.DeleteNode(t.Context(), node.ID), husk.CodeNotFound)
	_, err := h.Heartbeat(t.Context(), husk.Node{ID: node.ID})
	wantCode(t, err, husk.CodeNotFound)
	_, _, err = h.Desired(t.Context(), node.ID)
	wantCode(t, err, husk.CodeNotFound)
	_, err = h.Node(t.Context(), uuid.New())
	wantCode(t, err, husk.CodeNotFound)
}

func TestALostNodeReportsAgainUntilItsPodsAreKnown(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(4)
	image := h.image(tenant)
	starting, running, ended, stopping := h.order(tenant, specOf(image)), h.order(tenant, specOf(image)), h.order(tenant, specOf(image)), h.order(tenant, specOf(image))
	h.place(node.ID, starting, running, ended, stopping)
	h.to(husk.PhaseRunning, node, running)
	h.to(husk.PhaseSucceeded, node, ended)
	h.to(husk.PhaseStopping, node, stopping)

	judged := h.look(node.ID)
	if h.beat(node) {
		t.Error("a node that was ready is asked to report again")
	}
	if lost, _, err := h.MarkLost(t.Context(), h.epoch(), judged); err != nil || lost {
		t.Errorf("a node whose heartbeat came meanwhile was taken for lost: %v", err)
	}
	if lost, _, err := h.MarkLost(t.Context(), h.epoch()+1, h.look(node.ID)); err != nil || lost {
		t.Errorf("a leader of another epoch took a node for lost: %v", err)
	}
	lost, pods, err := h.MarkLost(t.Context(), h.epoch(), h.look(node.ID))
	if err != nil || !lost || pods != 2 {
		t.Errorf("lost %v with %d pods: %v", lost, pods, err)
	}
	if lost, _, err := h.MarkLost(t.Context(), h.epoch(), h.look(node.ID)); err != nil || lost {
		t.Errorf("a lost node was lost again: %v", err)
	}
	for p, want := range map[*husk.Pod]husk.Phase{
		&starting: husk.PhaseUnknown, &running: husk.PhaseUnknown, &ended: husk.PhaseSucceeded, &stopping: husk.PhaseStopping,
	} {
		if got := h.phase(*p); got != want {
			t.Errorf("a pod is %s, want %s", got, want)
		}
	}
	h.wantAllocated(node.ID, 3) // what may still run keeps its capacity

	if !h.beat(node) {
		t.Error("a node that was lost is not asked to report again")
	}
	if !h.beat(node) {
		t.Error("a node whose response was lost is not asked again")
	}
	h.say(node.ID, running, husk.EventRunning)
	h.say(node.ID, starting, husk.EventStarting)
	if h.beat(node) {
		t.Error("a node whose pods are known is asked again")
	}
	if got := h.look(node.ID); got.State != husk.NodeReady {
		t.Errorf("the node is %s", got.State)
	}
}

func TestANodeThatShrinksKeepsItsPodsAndGetsNoNewOnes(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(2)
	pod := h.order(tenant, specOf(h.image(tenant)))
	h.place(node.ID, pod)
	version := h.version(node.ID)
	h.beat(node)
	if h.version(node.ID) != version {
		t.Error("a heartbeat that changes nothing spoils placements under way")
	}
	h.beat(husk.Node{ID: node.ID, Capacity: husk.Resources{CPUMillis: 1, MemoryMiB: 1}, VMMOverheadMiB: overhead})
	got := h.look(node.ID)
	if can := (husk.Resources{CPUMillis: got.SchedulableCPUMillis, MemoryMiB: got.Capacity.MemoryMiB}); can != got.Allocated || h.version(node.ID) == version {
		t.Errorf("the shrunken node is %+v", got)
	}
	h.to(husk.PhaseStopping, node, pod)
	h.say(node.ID, pod, husk.EventGone)
	h.beat(husk.Node{ID: node.ID, Capacity: husk.Resources{CPUMillis: 1, MemoryMiB: 1}, VMMOverheadMiB: overhead})
	if got := h.look(node.ID).Capacity; got != (husk.Resources{CPUMillis: 1, MemoryMiB: 1}) {
		t.Errorf("the empty node has the capacity %+v", got)
	}
}

func TestAPodKeepsTheOverheadItWasChargedWith(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(4)
	pod := h.order(tenant, specOf(h.image(tenant)))
	h.place(node.ID, pod)
	h.beat(husk.Node{ID: node.ID, Capacity: node.Capacity, VMMOverheadMiB: 3 * overhead})
	h.to(husk.PhaseStopping, node, pod)
	h.say(node.ID, pod, husk.EventGone)
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
		t.Errorf("a wrong secret says %q and an unknown id %q", err, unknown)
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

func TestTheFirstOperatorIsMadeOnce(t *testing.T) {
	t.Parallel()
	h := open(t)
	id := uuid.New()
	for _, err := range together(5, func(int) error { return h.EnsureOperator(t.Context(), id, "first") }) {
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
