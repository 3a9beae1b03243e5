// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"math"
	"slices"
)

// shape is a kind of node. All nodes with the same capacity and overhead are interchangeable while
// they are empty.
type shape struct {
	capacity, over Resources
	tier           int32
	at             int     // its position among the shapes of its tier
	worth          float64 // how many average pods of the mix it holds
	size           float64 // in average nodes, between equal values
	empty          []int32 // a heap of the empty nodes, smallest index first
}

// tier is a class of shapes of about the same size. In each resource, a class ends at 1.09 times the
// size at which it begins.
type tier struct {
	cpu, memory         int
	shapes              []int32   // its shapes
	first               int       // no shape before this position has an empty node
	largest             Resources // no shape has more
	below               []int32   // the tiers that are not larger in either resource, including this one
	own, ownEmpty       int       // ready nodes of this tier, and those of them that are empty
	atLeast, emptyAbove int       // the same for this tier and every tier that is at least as large
	left                float64   // the power of the share of its nodes that are empty
}

// opening chooses which empty node to open.
//
// The fewest nodes are opened if each holds as many pods as possible. But if small pods use up the
// large nodes, a large pod that comes later does not fit, although small nodes are empty. So a shape
// is worth the number of pods of the mix that it holds, times a power of the share of the nodes of
// its size that are still empty. This is inventory balancing (Golrezaei, Nazerzadeh and
// Rusmevichientong, "Real-time optimization of personalized assortments", Management Science 2014):
// without a forecast, what becomes scarce becomes dear, and no size runs out long before the others.
// The power is Params.Scarcity.
//
// In addition, for every size, a few of the nodes of at least that size stay empty as long as another
// node fits (the reserve). If only reserved nodes fit, it opens one of the shape that holds the
// fewest pods.
type opening struct {
	shapes  []shape
	byShape map[[2]Resources]int32
	tiers   []tier
	byTier  map[[2]int]int32
	version uint32 // the version of the mix for which the worth of the shapes was computed
	total   int    // the number of ready nodes
	params  Params
}

func newOpening(params Params) opening {
	return opening{byShape: map[[2]Resources]int32{}, byTier: map[[2]int]int32{}, params: params}
}

// shapeOf returns the shape, and adds it if it is new.
func (o *opening) shapeOf(capacity, over Resources) int32 {
	if s, known := o.byShape[[2]Resources{capacity, over}]; known {
		return s
	}
	s := int32(len(o.shapes))
	o.byShape[[2]Resources{capacity, over}] = s
	i := o.tierOf(capacity)
	t := &o.tiers[i]
	o.shapes = append(o.shapes, shape{capacity: capacity, over: over, tier: i, at: len(t.shapes)})
	t.shapes = append(t.shapes, s)
	t.largest = Resources{max(t.largest.CPUMillis, capacity.CPUMillis), max(t.largest.MemoryMiB, capacity.MemoryMiB)}
	o.version = 0
	return s
}

// eighths returns eight times the base-2 logarithm, rounded down.
func eighths(v int) int { return int(8 * math.Log2(float64(max(1, v)))) }

func (o *opening) tierOf(capacity Resources) int32 {
	key := [2]int{eighths(capacity.CPUMillis), eighths(capacity.MemoryMiB)}
	if t, known := o.byTier[key]; known {
		return t
	}
	i := int32(len(o.tiers))
	o.byTier[key] = i
	o.tiers = append(o.tiers, tier{cpu: key[0], memory: key[1]})
	for j := range o.tiers {
		a, b := &o.tiers[i], &o.tiers[j]
		if a.cpu >= b.cpu && a.memory >= b.memory {
			a.below = append(a.below, int32(j))
		}
		if int32(j) != i && b.cpu >= a.cpu && b.memory >= a.memory {
			b.below = append(b.below, i)
			a.atLeast += b.own
			a.emptyAbove += b.ownEmpty
		}
	}
	return i
}

// count changes the shape's number of nodes, and of empty ones.
func (o *opening) count(s int32, nodes, empty int) {
	t := &o.tiers[o.shapes[s].tier]
	t.own += nodes
	t.ownEmpty += empty
	t.left = math.Pow(float64(t.ownEmpty)/float64(max(1, t.own)), o.params.Scarcity)
	o.total += nodes
	for _, j := range t.below {
		o.tiers[j].atLeast += nodes
		o.tiers[j].emptyAbove += empty
	}
}

// put adds an empty node.
func (o *opening) put(nodes []record, i int32) {
	s := &o.shapes[nodes[i].shape]
	o.tiers[s.tier].first = min(o.tiers[s.tier].first, s.at)
	s.empty = append(s.empty, i)
	h := s.empty
	for at := len(h) - 1; at > 0; {
		up := (at - 1) / 2
		if h[up] <= h[at] {
			break
		}
		h[up], h[at] = h[at], h[up]
		nodes[h[at]].slot = int32(at)
		at = up
		nodes[i].slot = int32(at)
	}
	if h[len(h)-1] == i {
		nodes[i].slot = int32(len(h) - 1)
	}
	o.count(nodes[i].shape, 0, 1)
}

// take removes an empty node, which is usually the first of its shape.
func (o *opening) take(nodes []record, i int32) {
	s := &o.shapes[nodes[i].shape]
	h := s.empty
	at, last := int(nodes[i].slot), len(h)-1
	h[at] = h[last]
	nodes[h[at]].slot = int32(at)
	h = h[:last]
	s.empty = h
	o.count(nodes[i].shape, 0, -1)
	nodes[i].slot = none
	if at == last {
		return
	}
	swap := func(a, b int) {
		h[a], h[b] = h[b], h[a]
		nodes[h[a]].slot, nodes[h[b]].slot = int32(a), int32(b)
	}
	for at > 0 && h[(at-1)/2] > h[at] {
		swap(at, (at-1)/2)
		at = (at - 1) / 2
	}
	for {
		low := 2*at + 1
		if low >= last {
			return
		}
		if low+1 < last && h[low+1] < h[low] {
			low++
		}
		if h[at] <= h[low] {
			return
		}
		swap(at, low)
		at = low
	}
}

// learn computes the worth of the shapes if the mix has changed.
func (o *opening) learn(m *mix) {
	if o.version == m.version {
		return
	}
	o.version = m.version
	for i := range o.shapes {
		s := &o.shapes[i]
		s.worth = min(float64(s.capacity.CPUMillis)/max(1, m.demandCPU+float64(s.over.CPUMillis)),
			float64(s.capacity.MemoryMiB)/max(1, m.demandMemory+float64(s.over.MemoryMiB)))
		s.size = float64(s.capacity.CPUMillis)/m.cpu + float64(s.capacity.MemoryMiB)/m.memory
	}
}

// better reports whether to open a shape rather than another one.
func (o *opening) better(a, b *shape) bool {
	x, y := a.worth*o.tiers[a.tier].left, b.worth*o.tiers[b.tier].left
	return x > y || x == y && a.size < b.size
}

// reserved reports whether opening a node of the tier would use a reserve.
func (o *opening) reserved(t *tier) bool {
	keep := int(o.params.Reserve*float64(o.total)) + 1
	return slices.ContainsFunc(t.below, func(j int32) bool {
		x := &o.tiers[j]
		return x.emptyAbove <= min(keep, x.atLeast)
	})
}
