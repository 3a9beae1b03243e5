// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"sync"
	"testing"

	"husk"
	"husk/store"
	"husk/store/lifecycle"
)

// elastic returns a node for so many small pods whose agent can change sizes.
func (h fixture) elastic(pods int) husk.Node {
	h.t.Helper()
	n := h.node(pods)
	n.Capabilities = husk.AgentCapabilities
	h.heartbeat(n)
	return h.getNode(n.ID)
}

func (h fixture) resize(p husk.Pod, cpu, memory int) error {
	_, err := h.as(p.TenantID).ResizePod(h.t.Context(), p.ID, lifecycle.Size{CPUMillis: &cpu, MemoryMiB: &memory})
	return err
}

// hasSize reports that the pod's machine has this size.
func (h fixture) hasSize(node husk.Node, p husk.Pod, generation int64, size husk.Resources) {
	h.t.Helper()
	if err := h.Report(h.t.Context(), node.ID, []husk.PodReport{{PodID: p.ID, Generation: generation, Event: husk.EventRunning, Resources: &size}}); err != nil {
		h.t.Fatal(err)
	}
}

func (h fixture) get(p husk.Pod) husk.Pod {
	h.t.Helper()
	now, err := h.as(p.TenantID).Pod(h.t.Context(), p.ID)
	return must(h.t, now, err)
}

// allocated returns what is reserved on a node, and checks that it is the sum of what its pods have reserved.
func (h fixture) allocated(node husk.Node) husk.Resources {
	h.t.Helper()
	capacities, err := h.NodeCapacities(h.t.Context())
	must(h.t, capacities, err)
	pods, err := h.PlacedPods(h.t.Context(), []store.ID{node.ID})
	must(h.t, pods, err)
	var sum husk.Resources
	for _, p := range pods {
		sum.CPUMillis, sum.MemoryMiB = sum.CPUMillis+p.Size.CPUMillis, sum.MemoryMiB+p.Size.MemoryMiB+p.Overhead
	}
	for _, c := range capacities {
		if c.ID != node.ID {
			continue
		}
		if c.Allocated != sum || sum.CPUMillis > c.Capacity.CPUMillis || sum.MemoryMiB > c.Capacity.MemoryMiB {
			h.t.Errorf("%+v of %+v is reserved on the node, and its pods have %+v", c.Allocated, c.Capacity, sum)
		}
		return c.Allocated
	}
	h.t.Fatal("there is no such node")
	return sum
}

func TestAPodGrowsWithinItsNodeAndFreesWhatItsMachineHasGivenBack(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.elastic(4)
	pod := h.createPod(tenant, specOf(h.image(tenant)))
	h.place(node.ID, pod)
	h.report(node.ID, pod, husk.EventRunning)
	large := husk.Resources{CPUMillis: 3 * small.CPUMillis, MemoryMiB: 3 * small.MemoryMiB}
	before, _, err := h.DesiredRevision(t.Context(), node.ID)
	must(t, before, err)
	if err := h.resize(pod, large.CPUMillis, large.MemoryMiB); err != nil {
		t.Fatal(err)
	}
	after, _, err := h.DesiredRevision(t.Context(), node.ID)
	if must(t, after, err); after == before {
		t.Error("the node is not told about the new size")
	}
	want := husk.Resources{CPUMillis: large.CPUMillis, MemoryMiB: large.MemoryMiB + overhead}
	if got := h.allocated(node); got != want {
		t.Errorf("%+v is reserved for a pod of %+v", got, large)
	}
	h.hasSize(node, pod, 2, small)
	if now := h.get(pod); now.Spec.Resources != large || now.Status.Resources == nil || *now.Status.Resources != small {
		t.Errorf("a pod whose machine has not grown yet is shown with %+v and %+v", now.Spec.Resources, now.Status.Resources)
	}
	h.hasSize(node, pod, 2, large)
	if now := h.get(pod); now.Status.Resources != nil || h.allocated(node) != want {
		t.Errorf("the machine has grown, and the pod is shown with %+v", now.Status.Resources)
	}

	// It becomes smaller in the spec at once, and on the node when its machine has given the rest back.
	if err := h.resize(pod, small.CPUMillis, small.MemoryMiB); err != nil {
		t.Fatal(err)
	}
	if got := h.allocated(node); got != want {
		t.Errorf("before the machine has given anything back, %+v is reserved", got)
	}
	h.hasSize(node, pod, 2, small) // a late report, about an earlier size
	if got := h.allocated(node); got != want {
		t.Errorf("after a late report, %+v is reserved", got)
	}
	h.hasSize(node, pod, 3, husk.Resources{CPUMillis: small.CPUMillis, MemoryMiB: small.MemoryMiB + 7})
	if got := h.allocated(node); got.CPUMillis != small.CPUMillis || got.MemoryMiB != small.MemoryMiB+7+overhead {
		t.Errorf("with 7 MiB too many, %+v is reserved", got)
	}
	if err := h.resize(pod, large.CPUMillis, small.MemoryMiB); err != nil { // before it is done
		t.Fatal(err)
	}
	if got := h.allocated(node); got.CPUMillis != large.CPUMillis || got.MemoryMiB != small.MemoryMiB+7+overhead {
		t.Errorf("a pod that grows and shrinks has reserved %+v", got)
	}

	// A pod that starts again has the size of its spec.
	_, err = h.as(tenant.ID).StopPod(t.Context(), pod.ID)
	must(t, pod, err)
	if err := h.resize(pod, 50, 50); husk.CodeOf(err) != husk.CodeConflict {
		t.Errorf("a pod that stops changes its size: %v", err)
	}
	h.report(node.ID, pod, husk.EventGone)
	if got := h.allocated(node); got != (husk.Resources{}) {
		t.Errorf("for a stopped pod, %+v is reserved", got)
	}
	if err := h.resize(pod, 2*small.CPUMillis, 2*small.MemoryMiB); err != nil {
		t.Fatal(err)
	}
	_, err = h.as(tenant.ID).StartPod(t.Context(), pod.ID)
	must(t, pod, err)
	h.place(node.ID, pod)
	if got := h.allocated(node); got.CPUMillis != 2*small.CPUMillis || got.MemoryMiB != 2*small.MemoryMiB+overhead {
		t.Errorf("a pod that was resized while it was stopped has reserved %+v", got)
	}
}

func TestAPodDoesNotGrowBeyondItsNodeItsQuotaAndItsAgent(t *testing.T) {
	t.Parallel()
	h := open(t)
	quota := husk.DefaultQuota
	quota.CPUMillis, quota.MemoryMiB = 10*small.CPUMillis, 10*small.MemoryMiB
	tenant, node, old := h.tenantWith(quota), h.elastic(3), h.node(3)
	image := h.image(tenant)
	pod, neighbour, onOld := h.createPod(tenant, specOf(image)), h.createPod(tenant, specOf(image)), h.createPod(tenant, specOf(image))
	h.place(node.ID, pod, neighbour)
	h.place(old.ID, onOld)
	wantCode(t, h.resize(pod, 3*small.CPUMillis, small.MemoryMiB), husk.CodeConflict)   // too much cpu for the node
	wantCode(t, h.resize(pod, small.CPUMillis, 4*small.MemoryMiB), husk.CodeConflict)   // too much memory
	wantCode(t, h.resize(onOld, 2*small.CPUMillis, small.MemoryMiB), husk.CodeConflict) // an agent of an earlier version
	wantCode(t, h.resize(pod, 9*small.CPUMillis, small.MemoryMiB), husk.CodeQuotaExceeded)
	if got := h.get(pod); got.Spec.Resources != small || got.Generation != 1 {
		t.Errorf("a refused change has changed the pod: %+v", got.Spec.Resources)
	}
	if err := h.resize(pod, small.CPUMillis, small.MemoryMiB); err != nil || h.get(pod).Generation != 1 {
		t.Errorf("the same size is a change: %v", err)
	}
	if err := h.resize(pod, 2*small.CPUMillis, small.MemoryMiB); err != nil {
		t.Errorf("a pod does not get what is free: %v", err)
	}
	shm := specOf(image)
	shm.ShmSizeMiB = small.MemoryMiB
	wantCode(t, h.resize(h.createPod(tenant, shm), small.CPUMillis, small.MemoryMiB/2), husk.CodeInvalid)
}

// Pods that grow, shrink and are placed at the same time never have more than the node.
func TestParallelResizesAndPlacementsStayWithinTheNode(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.elastic(14)
	image := h.image(tenant)
	var pods []husk.Pod
	for range 8 {
		pods = append(pods, h.createPod(tenant, specOf(image)))
	}
	h.place(node.ID, pods...)
	var all sync.WaitGroup
	var refused, grown int
	var mu sync.Mutex
	for i := range 200 {
		all.Go(func() {
			p := pods[i%7]
			switch i % 4 {
			case 0, 1: // grow
				err := h.resize(p, (2+i%3)*small.CPUMillis, (2+i%3)*small.MemoryMiB)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					grown++
				case husk.CodeOf(err) == husk.CodeConflict:
					refused++
				default:
					t.Error(err)
				}
			case 2: // shrink, and say so
				if err := h.resize(p, small.CPUMillis, small.MemoryMiB); err != nil {
					t.Error(err)
				}
				h.hasSize(node, p, h.get(p).Generation, small)
			case 3: // place, as the scheduler does: if there was room when it looked
				more := h.createPod(tenant, specOf(image))
				capacities, err := h.NodeCapacities(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				for _, c := range capacities {
					if c.Capacity.CPUMillis-c.Allocated.CPUMillis < small.CPUMillis || c.Capacity.MemoryMiB-c.Allocated.MemoryMiB < small.MemoryMiB+overhead {
						continue
					}
					if _, err := h.CommitPlacements(t.Context(), h.epoch(), []store.Placement{{Pod: keyOf(more), Node: c.ID, NodeVersion: c.Version}}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	h.allocated(node)
	if refused == 0 || grown == 0 {
		t.Errorf("%d changes were refused and %d were not: the node was never full, or always", refused, grown)
	}
}
