// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"cmp"
	"maps"
	"math"
	"reflect"
	"slices"
)

// PlaceBatch places pods together and returns a handle for each, in the given order. The handle of
// a pod that does not fit is Unplaced. It learns the sizes of the whole batch before it places the
// first pod.
//
// Higher priorities go first. Within the priorities it tries three ways, and keeps the one that
// leaves fewer pods of the batch unplaced, then the one that opens fewer nodes, and then the one that strands less:
//
//   - The larger dominant share first, so that large pods are placed while there is capacity, and
//     small pods fill what is left. This is first fit decreasing; for vectors see Panigrahy et al.,
//     "Heuristics for vector bin packing", 2011, and for dominant shares Ghodsi et al., NSDI 2011.
//   - By arrival. In a large batch that is sorted by size, pods with much memory and pods with much
//     cpu follow each other in blocks, so nodes get too little of a mix.
//   - Node by node, so that cpu and memory of each node stay in balance. See fill.
func (f *Fleet) PlaceBatch(pods []Pod) []Handle {
	b := newBatch(f, pods)
	b.place()
	return b.handles
}

// batch is the state of placing pods together.
type batch struct {
	fleet   *Fleet
	pods    []Pod
	classes []int32 // equal pods have the same class
	handles []Handle
	scores  []Score
}

func newBatch(f *Fleet, pods []Pod) *batch {
	b := &batch{fleet: f, pods: pods, classes: classes(pods), handles: make([]Handle, len(pods)), scores: make([]Score, len(pods))}
	for i := range pods {
		b.handles[i] = Unplaced
		f.mix.see(pods[i].Size)
	}
	return b
}

func (b *batch) all() []int32 {
	given := make([]int32, len(b.pods))
	for i := range given {
		given[i] = int32(i)
	}
	return given
}

func (b *batch) byPriority(x, y int32) int {
	return cmp.Compare(b.pods[y].Priority, b.pods[x].Priority)
}

func (b *batch) place() {
	given := b.all()
	slices.SortStableFunc(given, b.byPriority)
	b.placeThese(given)
}

// placeThese places some of the pods. They are given by priority, and within a priority in the order
// of their arrival.
func (b *batch) placeThese(given []int32) {
	bySize := slices.Clone(given)
	slices.SortStableFunc(bySize, func(x, y int32) int {
		return cmp.Or(b.byPriority(x, y), cmp.Compare(b.fleet.mix.share(b.pods[y].Size), b.fleet.mix.share(b.pods[x].Size)))
	})
	for {
		b.better(given, bySize)
		broken := b.brokenGangs(given)
		if len(broken) == 0 {
			return
		}
		// If only a part of a gang fits, the gang is removed from the batch, and the others are
		// placed again without it.
		b.undo(bySize)
		leaves := func(i int32) bool { return broken[b.pods[i].Gang] }
		given, bySize = slices.DeleteFunc(given, leaves), slices.DeleteFunc(bySize, leaves)
	}
}

// brokenGangs returns the gangs of which some pods are placed and others are not.
func (b *batch) brokenGangs(given []int32) map[string]bool {
	broken, some := map[string]bool{}, map[string]bool{}
	for _, i := range given {
		if g := b.pods[i].Gang; g != "" && b.handles[i] != Unplaced {
			some[g] = true
		}
	}
	for _, i := range given {
		if g := b.pods[i].Gang; b.handles[i] == Unplaced && some[g] {
			broken[g] = true
		}
	}
	return broken
}

// better places the pods in the best of several ways.
func (b *batch) better(given, bySize []int32) {
	ways := []func() (outcome, []int32){func() (outcome, []int32) { return b.attempt(bySize), bySize }}
	if !slices.Equal(given, bySize) {
		ways = append(ways, func() (outcome, []int32) { return b.attempt(given), given })
		if b.mayFill(bySize) {
			ways = append(ways, func() (outcome, []int32) { return b.fill(bySize) })
		}
	}
	best, last := 0, len(ways)-1
	var least outcome
	for k, way := range ways {
		o, placed := way()
		if k == 0 || o.compare(least) < 0 {
			best, least = k, o
		}
		if k < last || best < last {
			b.undo(placed)
		}
	}
	if best < last {
		ways[best]()
	}
}

// outcome is the result of an order. Lower is better; the first field counts most.
type outcome struct {
	unplaced, open int
	stranded       float64
}

func (o outcome) compare(p outcome) int {
	const exact = 1e-9 // a smaller difference may come from adding the same numbers in another order
	stranded := cmp.Compare(o.stranded, p.stranded)
	if math.Abs(o.stranded-p.stranded) < exact {
		stranded = 0
	}
	return cmp.Or(cmp.Compare(o.unplaced, p.unplaced), cmp.Compare(o.open, p.open), stranded)
}

// attempt places the pods in an order. If one pod of a class does not fit, it does not try the
// others of the class, because free capacity only shrinks. It tries them if they have a rule that
// later pods may satisfy. If a pod follows another of its class,
// it goes to the same node without a search, as long as that is still the best node.
func (b *batch) attempt(order []int32) (o outcome) {
	f := b.fleet
	full := map[int32]bool{}
	last := none // the class of the pod that was placed last
	for _, i := range order {
		if full[b.classes[i]] {
			b.handles[i] = Unplaced
			o.unplaced++
			continue
		}
		at := none
		if b.classes[i] == last {
			at = f.chooseAgain()
		}
		if at == none {
			at = f.choose(&b.pods[i])
		}
		if last = b.classes[i]; at == none {
			last = none
			b.handles[i] = Unplaced
			o.unplaced++
			full[b.classes[i]] = !b.pods[i].waitsForOthers()
			continue
		}
		o.stranded += b.put(i, at, f.scoreOf(at))
	}
	o.open = f.open.nodes
	return o
}

// put places a pod on a node, and returns the capacity that this strands.
func (b *batch) put(i, at int32, score Score) (stranded float64) {
	f := b.fleet
	score.StrandedBefore = f.mix.stranded(f.nodes[at].free, noLimit)
	b.handles[i] = f.assign(at, &b.pods[i])
	score.StrandedAfter = f.mix.stranded(f.nodes[at].free, noLimit)
	b.scores[i] = score
	return score.StrandedAfter - score.StrandedBefore
}

// undo reverts an attempt, the last pod first, so that the next attempt starts from the same state.
func (b *batch) undo(order []int32) {
	departing := b.fleet.departing
	for _, i := range slices.Backward(order) {
		if b.handles[i] != Unplaced {
			b.fleet.Release(b.handles[i])
			b.handles[i] = Unplaced
		}
	}
	b.fleet.departing = departing
}

// waitsForOthers reports whether the pod may fit once others are placed, because they can satisfy
// one of its rules.
func (p *Pod) waitsForOthers() bool {
	return slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Kind != Apart })
}

// classes gives pods with the same requirements the same number.
func classes(pods []Pod) []int32 {
	type key struct {
		size     Resources
		priority int
		lifetime float64
		gang     string
		labels   int
		rules    int
	}
	known := map[key][]int32{} // the first pod of each class
	of := make([]int32, len(pods))
	for i := range pods {
		p := &pods[i]
		k := key{p.Size, p.Priority, p.Lifetime, p.Gang, len(p.Selector), len(p.Rules)}
		of[i] = int32(i)
		firsts := known[k]
		const looks = 8 // at most this many classes are compared per key; if more share a key, an equal pod may get a class of its own
		at := slices.IndexFunc(firsts[max(0, len(firsts)-looks):], func(j int32) bool { return p.equals(&pods[j]) })
		if at >= 0 {
			of[i] = firsts[max(0, len(firsts)-looks)+at]
			continue
		}
		known[k] = append(firsts, int32(i))
	}
	return of
}

// equals reports whether two pods have the same requirements.
func (p *Pod) equals(q *Pod) bool {
	return p.Size == q.Size && p.Lifetime == q.Lifetime && p.Priority == q.Priority && p.Gang == q.Gang && p.Disruption == q.Disruption &&
		slices.Equal(p.Extra, q.Extra) && maps.Equal(p.Selector, q.Selector) && maps.Equal(p.Prefers, q.Prefers) &&
		slices.Equal(p.Tolerates, q.Tolerates) && slices.Equal(p.Groups, q.Groups) && reflect.DeepEqual(p.Rules, q.Rules)
}
