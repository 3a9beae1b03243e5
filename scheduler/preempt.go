// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"cmp"
	"math"
	"slices"
)

// Preemption is capacity that is being freed for pods by stopping others. It is held until Drop, so
// that no other pod takes the part that is already free.
type Preemption struct {
	Nodes   []int    // by pod
	Victims []Handle // pods to stop; empty if enough pods are already leaving
	holds   []Handle
}

// Preempt frees capacity for a pod, or for all pods of a gang, by stopping pods of lower priority.
// It fails if that would not be enough or would break a disruption limit. Of the possible nodes it
// takes the one where the highest priority among the victims is lowest, then the one of which the
// victims are the smallest share, then the one with the smaller index. On a node, it spares the
// pods with the highest priorities and then the largest pods, like Kubernetes. Pods that are
// already leaving are not stopped again, and the capacity that they free is counted once.
//
// From then on the victims are leaving, and no longer count as running for disruption limits.
func (f *Fleet) Preempt(pods []*Pod) (Preemption, bool) {
	var p Preemption
	for _, pod := range pods {
		if h, ok := f.Place(pod); ok {
			p.holds, p.Nodes = append(p.holds, h), append(p.Nodes, f.NodeOf(h))
			continue
		}
		node, victims, ok := f.cheapest(pod)
		if !ok {
			f.Stay(p)
			f.Drop(p)
			return Preemption{}, false
		}
		for _, v := range victims {
			f.leaving(v, true)
		}
		p.Victims, p.Nodes = append(p.Victims, victims...), append(p.Nodes, int(node))
		p.holds = append(p.holds, f.hold(node, pod))
	}
	return p, true
}

// Drop releases what a preemption holds.
func (f *Fleet) Drop(p Preemption) {
	for _, h := range slices.Backward(p.holds) {
		f.Release(h)
	}
}

// Stay reverts a preemption: its victims are not stopped.
func (f *Fleet) Stay(p Preemption) {
	for _, v := range p.Victims {
		f.leaving(v, false)
	}
}

// Leaving marks a pod that is being stopped. It keeps its allocation until it is released, and is
// not stopped again.
func (f *Fleet) Leaving(h Handle) { f.leaving(h, true) }

func (f *Fleet) leaving(h Handle, leaves bool) {
	p := &f.pods[h]
	if p.leaving == leaves {
		return
	}
	p.leaving = leaves
	sign := int32(1)
	if leaves {
		sign = -1
	}
	if !p.held {
		f.nodes[p.node].leaving -= sign
	}
	f.priorities[p.priority] += sign
	if p.terms != nil {
		for _, g := range p.terms.groups {
			f.groups.all[g].staying += sign
		}
	}
}

// hold records a pod's need as far as the node has free capacity, and claims the rest from leaving
// pods.
func (f *Fleet) hold(node int32, pod *Pod) Handle {
	n := &f.nodes[node]
	need := pod.Size.plus(n.over)
	part := Resources{max(0, min(need.CPUMillis, n.free.CPUMillis)), max(0, min(need.MemoryMiB, n.free.MemoryMiB))}
	held := *pod
	held.Size, held.Extra, held.Disruption = part.minus(n.over), nil, Disruption{}
	h := f.assign(node, &held)
	p := &f.pods[h]
	if p.terms == nil {
		p.terms = &terms{pod: held}
	}
	p.terms.claim, p.held = need.minus(part), true
	f.nodes[node].claims++
	f.leaving(h, true)
	return h
}

// cheapest returns the node on which freeing capacity for a pod does the least harm.
func (f *Fleet) cheapest(pod *Pod) (node int32, victims []Handle, ok bool) {
	lowest := math.MaxInt
	for priority, n := range f.priorities {
		if n > 0 {
			lowest = min(lowest, int(priority))
		}
	}
	lower := lowest < pod.Priority
	s := &f.search
	*s = search{pod: pod, constraints: s.constraints}
	s.constrained = f.constrain(s, pod)
	if s.constraints.impossible {
		return none, nil, false
	}
	node = none
	highest, least := 0, 0.0
	for at := range f.nodes {
		i, n := int32(at), &f.nodes[at]
		if !n.ready || !f.cap[i].holds(pod.Size.plus(n.over)) || !lower && n.leaving == 0 || s.constrained && !f.allows(s, i) {
			continue
		}
		limit := noLimit
		if node != none && highest <= lowest {
			limit = least // no other node can have victims of lower priorities, so only less harm is better
		}
		found, harm, fits := f.vacate(i, pod, true, limit, nil)
		if !fits {
			continue
		}
		top := math.MinInt
		for _, v := range found {
			top = max(top, int(f.pods[v].priority))
		}
		if node == none || top < highest || top == highest && harm < least {
			node, victims, highest, least = i, found, top, harm
		}
	}
	return node, victims, node != none
}

// vacate returns pods of a node whose removal lets a pod fit there, with as little harm as a greedy
// choice finds. The harm is their share of the node. If preempting is false, any pod may be
// removed. If it is true, only pods of lower priority may be removed, and only within their
// disruption limits. Pods for which may(pod) is false stay; a nil function means that all may be
// removed. The capacity of pods that are already leaving costs nothing. vacate fails early if the
// harm cannot be below the limit.
func (f *Fleet) vacate(i int32, pod *Pod, preempting bool, limit float64, may func(Handle) bool) (leave []Handle, harm float64, ok bool) {
	n := &f.nodes[i]
	lacks := f.lacks(i, pod)
	if n.claims > 0 || n.leaving > 0 {
		lacks = f.lacksInTheEnd(i, pod)
	}
	extra := slices.Clone(missingExtra(n.extra, pod.Extra))
	if share(lacks.CPUMillis, f.cap[i].CPUMillis)+share(lacks.MemoryMiB, f.cap[i].MemoryMiB) >= limit {
		return nil, 0, false
	}
	candidates := f.mayLeave(i, pod, preempting)
	if may != nil {
		candidates = slices.DeleteFunc(candidates, func(h Handle) bool { return !may(h) })
	}
	gain := func(h Handle) Resources { return f.pods[h].size.plus(n.over) }
	var sum Resources
	for _, h := range candidates {
		sum = sum.plus(gain(h))
		addExtra(extra, f.pods[h].extra, 1)
	}
	if !sum.holds(lacks) || !covered(extra) {
		return nil, 0, false
	}
	size := func(h Handle) float64 {
		g := gain(h)
		return share(g.CPUMillis, f.cap[i].CPUMillis) + share(g.MemoryMiB, f.cap[i].MemoryMiB)
	}
	slices.SortFunc(candidates, func(a, b Handle) int {
		if preempting {
			if c := cmp.Compare(f.pods[b].priority, f.pods[a].priority); c != 0 {
				return c
			}
		}
		return cmp.Or(cmp.Compare(size(b), size(a)), cmp.Compare(a, b))
	})
	// Spare as many as possible, in this order.
	for _, h := range candidates {
		if rest := sum.minus(gain(h)); rest.holds(lacks) && coveredWithout(extra, f.pods[h].extra) {
			sum = rest
			addExtra(extra, f.pods[h].extra, -1)
			continue
		}
		leave = append(leave, h)
		harm += size(h)
	}
	if preempting || len(leave) < 2 {
		return leave, harm, true
	}
	// One large pod may be a smaller share than several small ones.
	for _, h := range candidates {
		if len(pod.Extra) == 0 && gain(h).holds(lacks) && size(h) <= harm {
			leave, harm = []Handle{h}, size(h)
		}
	}
	return leave, harm, true
}

// lacksInTheEnd returns what a node lacks for a pod after all leaving pods have left and all claims
// are met.
func (f *Fleet) lacksInTheEnd(i int32, pod *Pod) Resources {
	n := &f.nodes[i]
	free := n.free
	for h := n.first; h != none; h = f.pods[h].next {
		switch p := &f.pods[h]; {
		case p.held:
			free = free.minus(p.terms.claim)
		case p.leaving:
			free = free.plus(p.size.plus(n.over))
		}
	}
	need := pod.Size.plus(n.over)
	return Resources{max(0, need.CPUMillis-free.CPUMillis), max(0, need.MemoryMiB-free.MemoryMiB)}
}

// mayLeave returns the pods of a node that may be removed.
func (f *Fleet) mayLeave(i int32, pod *Pod, preempting bool) (list []Handle) {
	var spent map[int32]int32 // how many pods of each group are already in the list
	for h := f.nodes[i].first; h != none; h = f.pods[h].next {
		p := &f.pods[h]
		if p.leaving || preempting && int(p.priority) >= pod.Priority {
			continue
		}
		if preempting && !f.mayDisrupt(p, &spent) {
			continue
		}
		list = append(list, Handle(h))
	}
	return list
}

// mayDisrupt reports whether a pod may be stopped in addition to the pods that spent counts. If so,
// it adds the pod to spent.
func (f *Fleet) mayDisrupt(p *running, spent *map[int32]int32) bool {
	if p.terms == nil {
		return true
	}
	if d := p.terms.pod.Disruption; d.Group == "" && d.Keep > 0 {
		return false
	}
	for _, g := range p.terms.groups {
		if x := &f.groups.all[g]; x.staying-(*spent)[g] <= x.keep() {
			return false
		}
	}
	if *spent == nil {
		*spent = map[int32]int32{}
	}
	for _, g := range p.terms.groups {
		(*spent)[g]++
	}
	return true
}

// keep returns how many of the group must stay: the maximum over the running pods' disruption
// limits, or -1 without a limit.
func (g *group) keep() int32 {
	most := int32(-1)
	for keep := range g.keeps {
		most = max(most, keep)
	}
	return most
}

// missingExtra returns, by further resource, how much more a node has than the pod needs. A
// negative value is an amount that is missing.
func missingExtra(have, want []int) []int {
	if len(want) == 0 {
		return nil
	}
	rest := make([]int, len(want))
	for k, v := range want {
		rest[k] = -v
		if k < len(have) {
			rest[k] += have[k]
		}
		if v <= 0 {
			rest[k] = 0
		}
	}
	return rest
}

func addExtra(rest, gain []int, sign int) {
	for k := range min(len(rest), len(gain)) {
		rest[k] += sign * gain[k]
	}
}

func covered(rest []int) bool {
	return !slices.ContainsFunc(rest, func(v int) bool { return v < 0 })
}

func coveredWithout(rest, gain []int) bool {
	for k := range min(len(rest), len(gain)) {
		if rest[k]-gain[k] < 0 {
			return false
		}
	}
	return true
}
