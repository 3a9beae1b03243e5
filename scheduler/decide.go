// SPDX-License-Identifier: Apache-2.0

package scheduler

import "slices"

// Decision is the result of a batch. Handles, scores and refusals are in the order of the pods.
type Decision struct {
	Handles   []Handle   // Unplaced if there is a refusal
	Scores    []Score    // of the placed pods
	Refusals  []*Refusal // nil for the placed pods
	Evictions []Eviction
}

// Eviction is a pod to stop so that a pod of the batch fits.
type Eviction struct {
	Victim Handle
	For    int // the index of that pod in the batch; for a gang, its first pod
}

// Limits bound the work that one batch may cause.
type Limits struct {
	Preemptions  int // the largest number of pods and gangs that may preempt others
	Explanations int // for how many classes of equal pods the refusals say which pods to remove; the others only say what is insufficient
}

// Decide places a batch, preempts pods for those that do not fit, and explains the remaining
// refusals. Afterwards the fleet contains the placed pods, and the victims are marked as leaving.
//
// It goes from the highest priority to the lowest. While the victims of a pod are leaving, capacity
// is held for it, so that no pod of lower priority takes it.
func (f *Fleet) Decide(pods []Pod, limits Limits) Decision {
	b := newBatch(f, pods)
	d := Decision{Handles: b.handles, Scores: b.scores, Refusals: make([]*Refusal, len(pods))}
	order := b.all()
	slices.SortStableFunc(order, b.byPriority)
	var held []Preemption
	preempting := map[int32]bool{}
	futile := map[int32]bool{} // classes for which preemption does not help
	for len(order) > 0 {
		same := 1
		for same < len(order) && pods[order[same]].Priority == pods[order[0]].Priority {
			same++
		}
		level := order[:same]
		order = order[same:]
		b.placeThese(slices.Clone(level))
		for _, unit := range b.unplaced(level) {
			if len(held) >= limits.Preemptions {
				break
			}
			if first := unit[0]; futile[b.classes[first]] {
				continue
			}
			p, ok := f.Preempt(b.pointers(unit))
			if !ok {
				futile[b.classes[unit[0]]] = true
				continue
			}
			held = append(held, p)
			for _, i := range unit {
				preempting[i] = true
			}
			for _, v := range p.Victims {
				d.Evictions = append(d.Evictions, Eviction{Victim: v, For: int(unit[0])})
			}
		}
	}
	b.explain(d.Refusals, preempting, limits.Explanations)
	for _, p := range slices.Backward(held) {
		f.Drop(p)
	}
	return d
}

// unplaced returns the pods without a node, each alone or together with its whole gang.
func (b *batch) unplaced(level []int32) (units [][]int32) {
	gangs := map[string]int{}
	for _, i := range level {
		if b.handles[i] != Unplaced {
			continue
		}
		g := b.pods[i].Gang
		if at, known := gangs[g]; known && g != "" {
			units[at] = append(units[at], i)
			continue
		}
		gangs[g] = len(units)
		units = append(units, []int32{i})
	}
	return units
}

func (b *batch) pointers(unit []int32) (pods []*Pod) {
	for _, i := range unit {
		pods = append(pods, &b.pods[i])
	}
	return pods
}

// explain sets the refusal of every pod without a node. It computes it once per class.
func (b *batch) explain(refusals []*Refusal, preempting map[int32]bool, most int) {
	known := map[int32]Refusal{}
	for i := range b.pods {
		if b.handles[i] != Unplaced {
			continue
		}
		class := b.classes[i]
		r, told := known[class]
		if !told {
			r = b.fleet.explain(&b.pods[i], len(known) < most)
			known[class] = r
		}
		r.PodID = b.pods[i].ID
		if preempting[int32(i)] {
			r.Reason, r.MakeRoom = Preempting, MakeRoom{Node: -1}
		}
		refusals[i] = &r
	}
}

// Score says how a node was chosen for a pod. A lower Total is better, then a lower Left. Amounts are
// in units of the average node of the cluster.
type Score struct {
	Considered     int     // the number of nodes that fit and were compared
	Opened         bool    // the node was empty
	StrandedBefore float64 // free capacity of the node that the usual pods could not use before the pod was placed
	StrandedAfter  float64 // the same after the pod was placed
	Left           float64 // the larger of the shares of cpu and memory that stay free on the node; it decides between equal totals
	Total          float64 // the value that was compared: the change in stranded capacity minus the bonus for the node's age, or the price of lifetimes
}

// scoreOf returns the score of the last choice.
func (f *Fleet) scoreOf(at int32) Score {
	s := &f.search
	score := Score{Considered: s.compared, Opened: !f.nodes[at].isOpen(), Total: s.score, Left: s.tie}
	if at != s.best { // an empty node was opened instead
		score.Total, score.Left = f.judge(s, &f.nodes[at])
	}
	return score
}
