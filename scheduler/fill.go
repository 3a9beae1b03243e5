// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"math"
	"slices"
)

// fillClasses is how many classes of pods fill compares for each pod.
const fillClasses = 256

// mayFill reports whether fill may place the pods: they have one priority, and the comparison of
// their classes is cheap.
func (b *batch) mayFill(order []int32) bool {
	distinct := map[int32]bool{}
	for _, i := range order {
		distinct[b.classes[i]] = true
		if b.pods[i].Priority != b.pods[order[0]].Priority || len(distinct) > fillClasses {
			return false
		}
	}
	return true
}

// fill places pods node by node. The first pod of a node is the largest that is left, on the node
// that a placement would choose. Then the node gets, of all pods that fit, the one after which cpu
// and memory are most in balance and least is free, until none fits. This is the greedy that goes
// from node to node of Panigrahy et al., "Heuristics for vector bin packing", 2011, with their
// L-infinity norm and the imbalance as the measure. Pods with rules are only first pods.
//
// It returns the pods in the order in which it tried them.
func (b *batch) fill(bySize []int32) (o outcome, order []int32) {
	f := b.fleet
	var classes, plain []int32 // the largest first; plain are those without rules that have pods left
	left := map[int32][]int32{}
	for _, i := range bySize {
		c := b.classes[i]
		if left[c] == nil {
			classes = append(classes, c)
			if b.pods[c].isPlain() && !f.tainted {
				plain = append(plain, c)
			}
		}
		left[c] = append(left[c], i)
	}
	take := func(c int32) int32 {
		i := left[c][0]
		if left[c] = left[c][1:]; len(left[c]) == 0 {
			plain = slices.DeleteFunc(plain, func(p int32) bool { return p == c })
		}
		order = append(order, i)
		return i
	}
	for _, c := range classes {
		for full := false; len(left[c]) > 0; {
			i, at := take(c), none
			if !full {
				at = f.choose(&b.pods[i])
			}
			if at == none {
				b.handles[i] = Unplaced
				o.unplaced++
				full = !b.pods[i].waitsForOthers()
				continue
			}
			o.stranded += b.put(i, at, f.scoreOf(at))
			for {
				next := b.balances(at, plain)
				if next == none {
					break
				}
				o.stranded += b.put(take(next), at, Score{Considered: 1})
			}
		}
	}
	o.open = f.open.nodes
	return o, order
}

// balances returns the class whose next pod leaves a node most in balance, or none if no pod fits.
func (b *batch) balances(at int32, classes []int32) int32 {
	best, least := none, noLimit
	n, capacity := &b.fleet.nodes[at], b.fleet.cap[at]
	for _, c := range classes {
		p := &b.pods[c]
		need := p.Size.plus(n.over)
		if !n.free.holds(need) {
			continue
		}
		rest := n.free.minus(need)
		cpu, memory := share(rest.CPUMillis, capacity.CPUMillis), share(rest.MemoryMiB, capacity.MemoryMiB)
		if v := math.Abs(cpu-memory) + max(cpu, memory); v < least {
			best, least = c, v
		}
	}
	return best
}

// isPlain reports whether a pod requires only cpu and memory of a node.
func (p *Pod) isPlain() bool {
	return len(p.Extra) == 0 && len(p.Selector) == 0 && len(p.Prefers) == 0 && len(p.Groups) == 0 && len(p.Rules) == 0 && p.Lifetime == 0
}
