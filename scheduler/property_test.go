// SPDX-License-Identifier: Apache-2.0

package scheduler_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"husk/scheduler"
)

func anySize(t *rapid.T, most int, label string) scheduler.Resources {
	return scheduler.Resources{CPUMillis: rapid.IntRange(0, most).Draw(t, label+" cpu"), MemoryMiB: rapid.IntRange(0, most).Draw(t, label+" memory")}
}

func anySnapshot(t *rapid.T) ([]scheduler.Node, []scheduler.Pod) {
	nodes := make([]scheduler.Node, rapid.IntRange(0, 8).Draw(t, "nodes"))
	for i := range nodes {
		capacity := anySize(t, 100, "capacity")
		nodes[i] = scheduler.Node{
			ID: fmt.Sprint("node-", i), Ready: rapid.IntRange(0, 9).Draw(t, "ready") > 0, Capacity: capacity,
			Overhead: scheduler.Resources{MemoryMiB: rapid.IntRange(0, 5).Draw(t, "overhead")},
			Allocated: scheduler.Resources{
				CPUMillis: rapid.IntRange(0, capacity.CPUMillis).Draw(t, "used cpu"), MemoryMiB: rapid.IntRange(0, capacity.MemoryMiB).Draw(t, "used memory"),
			},
		}
		if rapid.Bool().Draw(t, "empty") {
			nodes[i].Allocated = scheduler.Resources{}
		}
	}
	pods := make([]scheduler.Pod, rapid.IntRange(0, 20).Draw(t, "pods"))
	for i := range pods {
		pods[i] = scheduler.Pod{ID: fmt.Sprint("pod-", i), Size: anySize(t, 40, "pod")}
	}
	return nodes, pods
}

// allocations replays a plan and returns what is allocated on each node afterwards. It fails on an
// impossible placement.
func allocations(t *rapid.T, nodes []scheduler.Node, pods []scheduler.Pod, plan scheduler.Plan) map[string]scheduler.Resources {
	sizes := map[string]scheduler.Resources{}
	for _, p := range pods {
		sizes[p.ID] = p.Size
	}
	used := map[string]scheduler.Resources{}
	byID := map[string]scheduler.Node{}
	for _, n := range nodes {
		used[n.ID], byID[n.ID] = n.Allocated, n
	}
	for _, p := range plan.Placements {
		n, known := byID[p.NodeID]
		if !known || !n.Ready {
			t.Fatalf("%s is placed on %s, which is not a ready node", p.PodID, p.NodeID)
		}
		u := used[p.NodeID]
		u.CPUMillis += sizes[p.PodID].CPUMillis + n.Overhead.CPUMillis
		u.MemoryMiB += sizes[p.PodID].MemoryMiB + n.Overhead.MemoryMiB
		used[p.NodeID] = u
	}
	return used
}

func TestNoNodeIsAllocatedAboveItsCapacity(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		nodes, pods := anySnapshot(t)
		used := allocations(t, nodes, pods, scheduler.Schedule(scheduler.Snapshot{Nodes: nodes}, pods))
		for _, n := range nodes {
			if u := used[n.ID]; u.CPUMillis > n.Capacity.CPUMillis || u.MemoryMiB > n.Capacity.MemoryMiB {
				t.Fatalf("node %s has capacity %+v, but %+v is allocated", n.ID, n.Capacity, u)
			}
		}
	})
}

func TestEveryPodIsPlacedOrRefusedOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		nodes, pods := anySnapshot(t)
		plan := scheduler.Schedule(scheduler.Snapshot{Nodes: nodes}, pods)
		var want, got []string
		for _, p := range pods {
			want = append(want, p.ID)
		}
		for _, p := range plan.Placements {
			got = append(got, p.PodID)
		}
		for _, r := range plan.Refusals {
			got = append(got, r.PodID)
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("pods (-input +plan):\n%s", diff)
		}
	})
}

func TestEqualInputsGiveEqualPlansAndAreNotChanged(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		nodes, pods := anySnapshot(t)
		nodesBefore, podsBefore := slices.Clone(nodes), slices.Clone(pods)
		first := scheduler.Schedule(scheduler.Snapshot{Nodes: nodes}, pods)
		if diff := cmp.Diff(nodesBefore, nodes) + cmp.Diff(podsBefore, pods); diff != "" {
			t.Fatalf("the input was changed:\n%s", diff)
		}
		// The database returns nodes in any order, which must not matter.
		shuffled := slices.Clone(nodes)
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)) //nolint:gosec // a shuffle
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if diff := cmp.Diff(first.Placements, scheduler.Schedule(scheduler.Snapshot{Nodes: shuffled}, pods).Placements); diff != "" {
			t.Fatalf("the plan depends on the order of nodes:\n%s", diff)
		}
	})
}

func TestARefusedPodFitsOnNoNode(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		nodes, pods := anySnapshot(t)
		plan := scheduler.Schedule(scheduler.Snapshot{Nodes: nodes}, pods)
		used := allocations(t, nodes, pods, plan)
		sizes := map[string]scheduler.Resources{}
		for _, p := range pods {
			sizes[p.ID] = p.Size
		}
		for _, r := range plan.Refusals {
			never := true
			ready := 0
			for _, n := range nodes {
				if !n.Ready {
					continue
				}
				ready++
				size, u := sizes[r.PodID], used[n.ID]
				cpu, memory := size.CPUMillis+n.Overhead.CPUMillis, size.MemoryMiB+n.Overhead.MemoryMiB
				if cpu <= n.Capacity.CPUMillis-u.CPUMillis && memory <= n.Capacity.MemoryMiB-u.MemoryMiB {
					t.Fatalf("%s is refused, but fits on %s even after all placements", r.PodID, n.ID)
				}
				never = never && (cpu > n.Capacity.CPUMillis || memory > n.Capacity.MemoryMiB)
			}
			if r.NeverFits != (never && ready > 0) || r.Nodes != len(nodes) || r.NotReady != len(nodes)-ready || r.Message() == "" {
				t.Fatalf("the refusal is wrong: %+v", r)
			}
		}
	})
}
