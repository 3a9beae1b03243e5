// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"math"
	"slices"

	"husk/scheduler"
)

// bounds are lower bounds of the number of nodes for any packing of the pods.
type bounds struct {
	CPU, Memory int // by the sum of each resource, largest nodes first
	Large       int // by pods that are too large to share a node, for equal nodes only
}

func (b bounds) best() int { return max(b.CPU, b.Memory, b.Large) }

// staticBounds are for pods that run at the same time.
func staticBounds(nodes []Node, sizes []scheduler.Resources) bounds {
	cpu := func(r scheduler.Resources) int { return r.CPUMillis }
	memory := func(r scheduler.Resources) int { return r.MemoryMiB }
	return bounds{CPU: bySum(nodes, sizes, cpu), Memory: bySum(nodes, sizes, memory), Large: max(bySize(nodes, sizes, cpu), bySize(nodes, sizes, memory))}
}

// bySum returns how many nodes are needed to hold the sum, the largest first.
func bySum(nodes []Node, sizes []scheduler.Resources, of func(scheduler.Resources) int) int {
	need := 0
	for _, s := range sizes {
		need += of(s)
	}
	capacity := make([]int, len(nodes))
	for i, n := range nodes {
		capacity[i] = of(n.Capacity)
	}
	slices.Sort(capacity)
	slices.Reverse(capacity)
	for k, r := range capacity {
		if need <= 0 {
			return k
		}
		need -= r
	}
	return len(capacity)
}

// bySize improves the sum for equal nodes. For a threshold t of at most half a node, pods larger
// than the node minus t count as whole nodes, because no pod of at least t fits next to them, and
// pods smaller than t count as nothing (the dual feasible functions of Fekete and Schepers, "New
// classes of fast lower bounds for bin packing problems", 2001).
func bySize(nodes []Node, sizes []scheduler.Resources, of func(scheduler.Resources) int) int {
	whole := of(nodes[0].Capacity)
	for _, n := range nodes {
		if of(n.Capacity) != whole {
			return 0
		}
	}
	if whole == 0 {
		return 0
	}
	sorted := make([]int, len(sizes))
	for i, s := range sizes {
		sorted[i] = of(s)
	}
	slices.Sort(sorted)
	sums := make([]int, len(sorted)+1)
	for i, s := range sorted {
		sums[i+1] = sums[i] + s
	}
	best := 0
	last := -1
	for _, t := range sorted {
		if t > whole/2 {
			break
		}
		if t == last {
			continue
		}
		last = t
		small, _ := slices.BinarySearch(sorted, t)
		large, _ := slices.BinarySearch(sorted, whole-t+1)
		best = max(best, len(sorted)-large+int(math.Ceil(float64(sums[large]-sums[small])/float64(whole))))
	}
	return best
}

// moment computes a lower bound for the pods that run at one time, from their sums. It counts the
// largest nodes first.
type moment struct{ cpu, memory []float64 } // sums of the largest nodes' capacity

func newMoment(nodes []Node) moment {
	sums := func(of func(scheduler.Resources) int) []float64 {
		capacity := make([]int, len(nodes))
		for i, n := range nodes {
			capacity[i] = of(n.Capacity)
		}
		slices.Sort(capacity)
		slices.Reverse(capacity)
		total := make([]float64, len(capacity)+1)
		for i, r := range capacity {
			total[i+1] = total[i] + float64(r)
		}
		return total
	}
	return moment{sums(func(r scheduler.Resources) int { return r.CPUMillis }), sums(func(r scheduler.Resources) int { return r.MemoryMiB })}
}

func (m moment) of(used scheduler.Resources) int {
	cpu, _ := slices.BinarySearch(m.cpu, float64(used.CPUMillis))
	memory, _ := slices.BinarySearch(m.memory, float64(used.MemoryMiB))
	return max(cpu, memory)
}
