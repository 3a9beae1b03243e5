// SPDX-License-Identifier: Apache-2.0

package scheduler_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"husk/scheduler"
)

// anyRunning returns a cluster whose running pods have several priorities and disruption limits.
// Some of the pods are leaving.
func anyRunning(t *rapid.T) scheduler.Snapshot {
	nodes, _ := anySnapshot(t)
	s := scheduler.Snapshot{Nodes: nodes}
	if len(nodes) == 0 {
		return s
	}
	free := map[string]scheduler.Resources{}
	for i := range s.Nodes {
		s.Nodes[i].Allocated = scheduler.Resources{}
		free[s.Nodes[i].ID] = s.Nodes[i].Capacity
	}
	for i := range rapid.IntRange(0, 20).Draw(t, "running") {
		n := s.Nodes[rapid.IntRange(0, len(nodes)-1).Draw(t, "on")]
		p := scheduler.Pod{ID: fmt.Sprint("running-", i), Size: anySize(t, 40, "running"), Priority: rapid.IntRange(0, 3).Draw(t, "priority")}
		if g := rapid.SampledFrom([]string{"", "web", "db"}).Draw(t, "group"); g != "" {
			p.Groups, p.Disruption = []string{g}, scheduler.Disruption{Group: g, Keep: rapid.IntRange(0, 3).Draw(t, "keep")}
		}
		left := scheduler.Resources{CPUMillis: free[n.ID].CPUMillis - p.Size.CPUMillis, MemoryMiB: free[n.ID].MemoryMiB - p.Size.MemoryMiB - n.Overhead.MemoryMiB}
		if left.CPUMillis < 0 || left.MemoryMiB < 0 {
			continue
		}
		free[n.ID] = left
		s.Running = append(s.Running, scheduler.Running{Pod: p, NodeID: n.ID, Leaving: rapid.IntRange(0, 5).Draw(t, "leaving") == 0})
	}
	return s
}

// staying returns the number of pods of a group that are neither leaving nor in the given list.
func staying(s scheduler.Snapshot, group string, without []string) (n int) {
	for _, r := range s.Running {
		if !r.Leaving && slices.Contains(r.Pod.Groups, group) && !slices.Contains(without, r.Pod.ID) {
			n++
		}
	}
	return n
}

func TestVictimsHaveLowerPriorityRespectLimitsAndFreeEnoughCapacity(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := anyRunning(t)
		pod := scheduler.Pod{ID: "new", Size: anySize(t, 60, "new"), Priority: rapid.IntRange(0, 4).Draw(t, "its priority")}
		plan := scheduler.Schedule(s, []scheduler.Pod{pod})
		byID := map[string]scheduler.Running{}
		for _, r := range s.Running {
			byID[r.Pod.ID] = r
		}
		for _, id := range plan.Evictions {
			v := byID[id]
			if v.Leaving || v.Pod.Priority >= pod.Priority {
				t.Fatalf("%+v is evicted for priority %d", v, pod.Priority)
			}
			if d := v.Pod.Disruption; staying(s, d.Group, plan.Evictions) < d.Keep {
				t.Fatalf("%d pods of group %s stay, want at least %d; evicted: %v", staying(s, d.Group, plan.Evictions), d.Group, d.Keep, plan.Evictions)
			}
		}
		if len(plan.Refusals) == 0 || plan.Refusals[0].Reason != scheduler.Preempting {
			if len(plan.Evictions) > 0 {
				t.Fatalf("%v are evicted, but no pod preempts them", plan.Evictions)
			}
			return
		}
		// When the victims and all leaving pods have stopped, the pod fits.
		after := scheduler.Snapshot{Nodes: s.Nodes}
		for _, r := range s.Running {
			if !r.Leaving && !slices.Contains(plan.Evictions, r.Pod.ID) {
				after.Running = append(after.Running, r)
			}
		}
		if again := scheduler.Schedule(after, []scheduler.Pod{pod}); len(again.Placements) == 0 {
			t.Fatalf("all victims have stopped, but the pod does not fit: %s", again.Refusals[0].Message())
		}
	})
}

func TestRemovingTheListedPodsLetsThePodFit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := anyRunning(t)
		pod := scheduler.Pod{ID: "new", Size: anySize(t, 60, "new"), Priority: -1}
		f := scheduler.NewFleet(s.Nodes, scheduler.Default())
		for i := range s.Running {
			r := &s.Running[i]
			h := f.Adopt(slices.IndexFunc(s.Nodes, func(n scheduler.Node) bool { return n.ID == r.NodeID }), &r.Pod, 0)
			if r.Leaving {
				f.Leaving(h)
			}
		}
		if _, ok := f.Place(&pod); ok {
			return
		}
		r := f.Explain(&pod)
		if r.MakeRoom.Node < 0 {
			return
		}
		for _, h := range r.MakeRoom.Pods {
			if f.NodeOf(h) != r.MakeRoom.Node {
				t.Fatal("the refusal lists a pod of another node")
			}
			f.Release(h)
		}
		if _, ok := f.PlaceOn(r.MakeRoom.Node, &pod); !ok && !slices.ContainsFunc(s.Running, func(r scheduler.Running) bool { return r.Leaving }) {
			t.Fatalf("without the listed pods %+v is free, but the pod does not fit", f.Free(r.MakeRoom.Node))
		}
	})
}

func TestReleasingThePlacedPodsRestoresTheFreeCapacity(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := anyRunning(t)
		f := scheduler.NewFleet(s.Nodes, scheduler.Default())
		for i := range s.Running {
			r := &s.Running[i]
			h := f.Adopt(slices.IndexFunc(s.Nodes, func(n scheduler.Node) bool { return n.ID == r.NodeID }), &r.Pod, 0)
			if r.Leaving {
				f.Leaving(h)
			}
		}
		var before []scheduler.Resources
		for i := range f.Len() {
			before = append(before, f.Free(i))
		}
		pods := make([]scheduler.Pod, rapid.IntRange(0, 5).Draw(t, "pods"))
		for i := range pods {
			pods[i] = scheduler.Pod{ID: fmt.Sprint(i), Size: anySize(t, 60, "pod"), Priority: rapid.IntRange(0, 4).Draw(t, "its priority")}
			pods[i].Gang = rapid.SampledFrom([]string{"", "g"}).Draw(t, "gang")
			if pods[i].Gang != "" {
				pods[i].Priority = 4
			}
		}
		d := f.Decide(pods, scheduler.Limits{Preemptions: 10, Explanations: 10})
		for _, h := range d.Handles {
			if h != scheduler.Unplaced {
				f.Release(h)
			}
		}
		for i := range f.Len() {
			if diff := cmp.Diff(before[i], f.Free(i)); diff != "" {
				t.Fatalf("node %d (-before +after):\n%s", i, diff)
			}
		}
	})
}

func TestADefragmentationDrainsNodesAndOvercommitsNone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := anyRunning(t)
		f, names := scheduler.NewFleet(s.Nodes, scheduler.Default()), map[scheduler.Handle]string{}
		free, on := map[int]scheduler.Resources{}, map[int]int{}
		for i, n := range s.Nodes {
			free[i] = n.Capacity
		}
		charge := func(node int, size scheduler.Resources, sign int) {
			x := free[node]
			x.CPUMillis -= sign * size.CPUMillis
			x.MemoryMiB -= sign * (size.MemoryMiB + s.Nodes[node].Overhead.MemoryMiB)
			free[node] = x
			on[node] += sign
		}
		for i := range s.Running {
			r := &s.Running[i]
			node := slices.IndexFunc(s.Nodes, func(n scheduler.Node) bool { return n.ID == r.NodeID })
			h := f.Adopt(node, &r.Pod, 0)
			names[h] = r.Pod.ID
			charge(node, r.Pod.Size, 1)
			if r.Leaving {
				f.Leaving(h)
			}
		}
		most := rapid.IntRange(0, 10).Draw(t, "moves")
		var moved []string
		emptied := map[int]bool{}
		for _, freed := range f.Defragment(most, func(int) bool { return true }) {
			emptied[freed.Node] = true
			for _, m := range freed.Moves {
				if slices.Contains(moved, names[m.Pod]) || f.NodeOf(m.Pod) != freed.Node || emptied[m.To] || on[m.To] == 0 || !s.Nodes[m.To].Ready {
					t.Fatalf("%s moves from %d to %d", names[m.Pod], freed.Node, m.To)
				}
				moved = append(moved, names[m.Pod])
				charge(freed.Node, m.Size, -1)
				charge(m.To, m.Size, 1)
			}
			if on[freed.Node] != 0 {
				t.Fatalf("%d pods are still on node %d", on[freed.Node], freed.Node)
			}
		}
		if len(moved) > most {
			t.Fatalf("%d moves, want at most %d", len(moved), most)
		}
		for _, r := range s.Running {
			if d := r.Pod.Disruption; slices.Contains(moved, r.Pod.ID) && staying(s, d.Group, moved) < d.Keep {
				t.Fatalf("too few pods of group %s stay", d.Group)
			}
		}
		for i, x := range free {
			if x.CPUMillis < 0 || x.MemoryMiB < 0 {
				t.Fatalf("node %d is overcommitted: %+v", i, x)
			}
		}
	})
}
