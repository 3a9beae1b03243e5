// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"testing"

	"husk"
	"husk/store"
)

// An evicted pod stops, keeps its volumes and is placed again. Late reports about its first
// placement are ignored.
func TestAnEvictedPodIsPlacedAgainWithItsVolumes(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, first, second := h.tenant(), h.node(1), h.node(1)
	image, volume := h.image(tenant), h.volume(tenant)
	pod := h.createPod(tenant, specOf(image, volume))
	h.place(first.ID, pod)
	h.bringTo(husk.PhaseRunning, first, pod)
	evict := func(node store.ID, epoch int64) int {
		t.Helper()
		gone, err := h.Evict(t.Context(), epoch, []store.Eviction{{Pod: keyOf(pod), Node: node}}, "Preempted", "for another")
		return len(must(t, gone, err))
	}
	if evict(second.ID, h.epoch()) != 0 {
		t.Error("the pod is evicted from a node that it is not on")
	}
	if evict(first.ID, h.epoch()-1) != 0 {
		t.Error("the pod is evicted by a server that does not lead")
	}
	if evict(first.ID, h.epoch()) != 1 || evict(first.ID, h.epoch()) != 0 {
		t.Error("the pod is not evicted exactly once")
	}
	h.wantAllocated(first.ID, 1)
	leaving, err := h.LeavingPods(t.Context())
	if must(t, leaving, err); len(leaving) != 1 || leaving[0] != keyOf(pod) {
		t.Errorf("the leaving pods are %v", leaving)
	}
	now, err := h.as(tenant.ID).Pod(t.Context(), pod.ID)
	if must(t, now, err); now.Status.Phase != husk.PhaseStopping || now.Status.Reason != "Preempted" || now.DeletionRequestedAt != nil {
		t.Errorf("the evicted pod is %+v", now.Status)
	}
	for range 2 { // a repeated report has no effect
		h.report(first.ID, pod, husk.EventGone)
	}
	h.wantAllocated(first.ID, 0)
	now, err = h.as(tenant.ID).Pod(t.Context(), pod.ID)
	if must(t, now, err); now.Status.Phase != husk.PhasePending || now.Status.NodeName != "" || now.Generation != 3 || now.Status.Timeline.RunningAt != nil || now.Status.Address != pod.Status.Address {
		t.Errorf("the requeued pod is %+v", now)
	}
	_, err = h.as(tenant.ID).CreatePod(t.Context(), once(), named("pod"), map[string]string{}, nil, specOf(image, volume))
	wantCode(t, err, husk.CodeVolumeInUse)
	pending, err := h.PendingPods(t.Context(), 10)
	if must(t, pending, err); len(pending) != 1 || !pending[0].Again {
		t.Errorf("the pending pods are %+v", pending)
	}
	h.place(first.ID, pod) // on the same node again, so that its earlier reports are late
	if err := h.Report(t.Context(), first.ID, []husk.PodReport{{PodID: pod.ID, Generation: 1, Event: husk.EventRunning}}); err != nil {
		t.Fatal(err)
	}
	if got := h.phase(pod); got != husk.PhaseStarting {
		t.Errorf("a report about the first placement makes the pod %s", got)
	}
	h.report(first.ID, pod, husk.EventRunning)
	if got := h.phase(pod); got != husk.PhaseRunning {
		t.Errorf("the pod is %s", got)
	}
}

// A pod that is deleted during its eviction is deleted, and not placed again.
func TestAPodCanBeDeletedDuringItsEviction(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(1)
	volume := h.volume(tenant)
	pod := h.createPod(tenant, specOf(h.image(tenant), volume))
	h.place(node.ID, pod)
	if gone, err := h.Evict(t.Context(), h.epoch(), []store.Eviction{{Pod: keyOf(pod), Node: node.ID}}, "Preempted", ""); err != nil || len(gone) != 1 {
		t.Fatal(gone, err)
	}
	for range 2 {
		gone, err := h.as(tenant.ID).DeletePod(t.Context(), pod.ID)
		if must(t, gone, err); gone.DeletionRequestedAt == nil || gone.Generation != 3 {
			t.Errorf("the deletion responds with %+v", gone)
		}
	}
	h.report(node.ID, pod, husk.EventGone)
	if got := h.phase(pod); got != husk.PhaseGone {
		t.Errorf("the pod is %s", got)
	}
	if v, err := h.as(tenant.ID).Volume(t.Context(), volume.ID); must(t, v, err).State != husk.VolumeAvailable {
		t.Errorf("its volume is %s", v.State)
	}
}

func TestAPoolOvercommitsCPU(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(2)
	set := func(pool string) error {
		_, err := h.UpdateNode(t.Context(), node.ID, func(s husk.NodeSettings) husk.NodeSettings { s.Pool = pool; return s })
		return err
	}
	wantCode(t, set("steady"), husk.CodeInvalid)
	pool, err := h.PutPool(t.Context(), "steady", 1.5)
	if must(t, pool, err); pool.Nodes != 0 || pool.CPUOvercommit != 1.5 {
		t.Errorf("the pool is %+v", pool)
	}
	if err := set("steady"); err != nil {
		t.Fatal(err)
	}
	if got := h.getNode(node.ID); got.SchedulableCPUMillis != 3*small.CPUMillis || got.Capacity.CPUMillis != 2*small.CPUMillis || got.Pool != "steady" {
		t.Errorf("the node is %+v", got)
	}
	wantCode(t, h.DeletePool(t.Context(), "steady"), husk.CodeConflict)
	image := h.image(tenant)
	h.place(node.ID, h.createPod(tenant, specOf(image)), h.createPod(tenant, specOf(image)))
	// A lower ratio does not affect running pods. When enough pods have ended, the next heartbeat
	// applies the pool's ratio.
	if _, err := h.PutPool(t.Context(), "steady", 0.5); err != nil {
		t.Fatal(err)
	}
	if got := h.getNode(node.ID).SchedulableCPUMillis; got != 2*small.CPUMillis {
		t.Errorf("%d mCPU can be allocated on a node with pods of %d mCPU", got, 2*small.CPUMillis)
	}
	for range 2 {
		h.heartbeat(node)
	}
	if got := h.getNode(node.ID).SchedulableCPUMillis; got != 2*small.CPUMillis {
		t.Errorf("after a heartbeat %d mCPU can be allocated on a node with pods of %d mCPU", got, 2*small.CPUMillis)
	}
	if err := set(""); err != nil {
		t.Fatal(err)
	}
	if err := h.DeletePool(t.Context(), "steady"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, h.DeletePool(t.Context(), "steady"), husk.CodeNotFound)
	if got := h.getNode(node.ID); got.Pool != "" || got.SchedulableCPUMillis != got.Capacity.CPUMillis {
		t.Errorf("outside of the pool the node is %+v", got)
	}
}

func TestAPriorityAboveTheQuotaIsRefused(t *testing.T) {
	t.Parallel()
	h := open(t)
	quota := husk.DefaultQuota
	quota.Priority = 5
	tenant := h.tenantWith(quota)
	spec := specOf(h.image(tenant))
	spec.Scheduling = &husk.Scheduling{Priority: 5}
	h.createPod(tenant, spec)
	spec.Scheduling = &husk.Scheduling{Priority: 6}
	_, err := h.as(tenant.ID).CreatePod(t.Context(), once(), named("pod"), map[string]string{}, nil, spec)
	wantCode(t, err, husk.CodeQuotaExceeded)
}

func TestAGangWaitsForAllItsPods(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(1)
	spec := specOf(h.image(tenant))
	spec.Scheduling = &husk.Scheduling{Gang: &husk.Gang{Name: "train", Size: 2}}
	first := h.createPod(tenant, spec)
	pending, err := h.PendingPods(t.Context(), 10)
	if must(t, pending, err); len(pending) != 1 || pending[0].WaitsFor == "" {
		t.Errorf("with one of two pods, the pending pods are %+v", pending)
	}
	h.createPod(tenant, spec)
	pending, err = h.PendingPods(t.Context(), 10)
	if must(t, pending, err); len(pending) != 2 || pending[0].WaitsFor != "" || pending[1].GangCreated != 2 || pending[1].GangPlaced != 0 {
		t.Errorf("with both pods, the pending pods are %+v", pending)
	}
	h.place(node.ID, first)
	pending, err = h.PendingPods(t.Context(), 10)
	if must(t, pending, err); len(pending) != 1 || pending[0].GangPlaced != 1 {
		t.Errorf("after one was placed, the pending pods are %+v", pending)
	}
}
