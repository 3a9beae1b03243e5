package scheduler

import "slices"

// Decision is what a batch came to. Handles, scores and refusals are in the order of the pods.
type Decision struct {
	Handles   []Handle   // Unplaced where there is a refusal
	Scores    []Score    // of those that are placed
	Refusals  []*Refusal // nil for those that are placed
	Evictions []Eviction
}

// Eviction is a pod to be stopped so that one of the batch finds room.
type Eviction struct {
	Victim Handle
	For    int // the pod of the batch; the first of a gang
}

// Limits bound the work that one batch may cause.
type Limits struct {
	Preemptions  int // for how many pods or gangs room may be made
	Explanations int // how many classes of equal pods are told what would make room; the others are told what they lack
}

// Decide places a batch, makes room for what is left by preemption, and says why the rest found no place. The fleet has the placed pods
// then, and the victims are leaving.
//
// It goes from the highest priority to the lowest, so that what is held for a higher pod while others leave is not taken by a lower one.
func (f *Fleet) Decide(pods []Pod, limits Limits) Decision {
	b := newBatch(f, pods)
	d := Decision{Handles: b.handles, Scores: b.scores, Refusals: make([]*Refusal, len(pods))}
	order := b.all()
	slices.SortStableFunc(order, b.byPriority)
	var held []Preemption
	preempting := map[int32]bool{}
	futile := map[int32]bool{} // classes for which no room can be made
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

// unplaced are the pods without a place, each alone or with the whole of its gang.
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

// explain says of every pod without a place why, once for a class.
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

// Score says how a node was chosen for a pod. Less is better in all of its parts; nodes are average nodes of the cluster.
type Score struct {
	Considered     int     // nodes with room that were compared
	Opened         bool    // the node was empty
	StrandedBefore float64 // free room of the node that the usual pods could not use, in nodes, before the pod came
	StrandedAfter  float64 // and after
	Left           float64 // the larger share of an average node that is left free: the tie of best fit
	Total          float64 // what was compared: the change of stranded room less what the node's age counts for, or the price of lifetimes
}

// scoreOf is the score of the choice that was made last.
func (f *Fleet) scoreOf(at int32) Score {
	s := &f.search
	score := Score{Considered: s.compared, Opened: !f.nodes[at].isOpen(), Total: s.score, Left: s.tie}
	if at != s.best { // an empty node was opened instead
		score.Total, score.Left = f.judge(s, &f.nodes[at])
	}
	return score
}
