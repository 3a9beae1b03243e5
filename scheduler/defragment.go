// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"cmp"
	"maps"
	"slices"
)

// Freed is a node that can be emptied, and the moves that empty it.
type Freed struct {
	Node  int
	Moves []Move
	Gain  Resources // the node's capacity
}

// Move puts a running pod on another node.
type Move struct {
	Pod  Handle
	To   int
	Size Resources
}

// Defragment proposes which nodes to drain onto other nodes in use, with a limit on the total
// number of moves. Nodes with the fewest pods come first. Pods move to the node that a placement
// would choose. Every rule holds, all moves together break no disruption limit, and no pod moves
// twice. It does not drain nodes that are not ready, nodes with leaving pods or pods that the fleet
// does not know, and nodes for which may(node) is false. The fleet is not changed.
//
// Draining the emptiest node first is the usual heuristic of consolidation: pMapper (Verma et al.,
// Middleware 2008), and the reverse of Sandpiper.
func (f *Fleet) Defragment(moves int, may func(node int) bool) (freed []Freed) {
	type candidate struct {
		node int32
		pods int32
		used float64
	}
	c := f.Clone()
	var order []candidate
	for at := range c.nodes {
		n := &c.nodes[at]
		if n.pods == 0 || n.base || n.leaving > 0 || !n.ready || !may(at) {
			continue
		}
		used := c.cap[at].minus(n.free)
		order = append(order, candidate{int32(at), n.pods, max(share(used.CPUMillis, c.cap[at].CPUMillis), share(used.MemoryMiB, c.cap[at].MemoryMiB))})
	}
	slices.SortFunc(order, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.pods, b.pods), cmp.Compare(a.used, b.used), cmp.Compare(a.node, b.node))
	})
	received := map[int32]bool{}
	spent := map[int32]int32{}
	for _, x := range order {
		if received[x.node] || int(x.pods) > moves {
			continue
		}
		found, ok := c.empty(x.node, &spent)
		if !ok {
			continue
		}
		moves -= len(found)
		for _, m := range found {
			received[int32(m.To)] = true
		}
		freed = append(freed, Freed{Node: int(x.node), Moves: found, Gain: f.cap[x.node]})
	}
	return freed
}

// empty moves either all pods of a node to other open nodes, or none of them. If it moves them, the
// node takes no new pods afterwards.
func (f *Fleet) empty(node int32, spent *map[int32]int32) (moves []Move, ok bool) {
	var pods []int32
	before := maps.Clone(*spent)
	for h := f.nodes[node].first; h != none; h = f.pods[h].next {
		if p := &f.pods[h]; p.leaving || !f.mayDisrupt(p, spent) {
			*spent = before
			return nil, false
		}
		pods = append(pods, h)
	}
	f.search.onlyOpen = true
	defer func() { f.search.onlyOpen = false }()
	if moves, ok = f.relocate(node, pods); !ok {
		*spent = before
	}
	return moves, ok
}

// relocate moves either all of these pods of a node to other nodes, the largest first, or none of
// them. If it moves them, the node takes no new pods afterwards.
func (f *Fleet) relocate(node int32, pods []int32) (moves []Move, ok bool) {
	size := func(h int32) float64 {
		return share(f.pods[h].size.CPUMillis, f.cap[node].CPUMillis) + share(f.pods[h].size.MemoryMiB, f.cap[node].MemoryMiB)
	}
	slices.SortFunc(pods, func(a, b int32) int { return cmp.Or(cmp.Compare(size(b), size(a)), cmp.Compare(a, b)) })
	f.SetReady(int(node), false)
	departing := f.departing
	defer func() { f.departing = departing }()
	type moved struct {
		was running
		is  Handle
	}
	var done []moved
	for _, h := range pods {
		was := f.pods[h]
		pod := was.asPod(f.now)
		f.Forget(Handle(h))
		to := f.choose(&pod)
		if to == none {
			f.adopt(node, was, pod)
			for _, d := range slices.Backward(done) {
				f.Forget(d.is)
				pod := d.was.asPod(f.now)
				f.adopt(node, d.was, pod)
			}
			f.SetReady(int(node), true)
			return nil, false
		}
		done = append(done, moved{was, f.adopt(to, was, pod)})
		moves = append(moves, Move{Pod: Handle(h), To: int(to), Size: was.size})
	}
	return moves, true
}

// adopt records a running pod on a node, with its age and its hint.
func (f *Fleet) adopt(node int32, was running, pod Pod) Handle {
	h := f.assign(node, &pod)
	f.pods[h].since, f.pods[h].end, f.pods[h].hint = was.since, was.end, was.hint
	f.retime(&f.nodes[node])
	return h
}

// asPod returns the description with which a running pod was placed, with its remaining lifetime.
func (p *running) asPod(now float64) Pod {
	pod := Pod{Size: p.size, Extra: p.extra, Priority: int(p.priority)}
	if p.terms != nil {
		pod = p.terms.pod
		pod.Size, pod.Extra = p.size, p.extra
	}
	pod.Lifetime = 0
	if p.end > now {
		pod.Lifetime = p.end - now
	}
	return pod
}
