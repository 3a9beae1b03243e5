// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"math"
	"math/bits"
)

// search is the state of one choice. It is part of the fleet so that a choice allocates no memory.
type search struct {
	pod         *Pod
	least       Resources // what a node must have free, in addition to its overhead
	looks       int       // how many nodes that fit may still be compared
	cut         bool      // a cell was left before all of its nodes were looked at
	thorough    bool      // no cell is left because of nodes that do not fit
	best        int32
	score, tie  float64
	last        Resources // the free capacity of the last node; a node with the same free capacity is not compared again
	lastOver    Resources
	constraints constraints
	constrained bool
	preferring  bool // consider only nodes that the pod prefers
	onlyOpen    bool // open no node
	compared    int  // the number of nodes that were compared
	// For the next pod, if it is equal to this one: again is whether it may be placed on the same node
	// without a search, second the lowest score of the other nodes that were compared, and lastScore
	// the score of the last of them.
	again             bool
	second, lastScore float64
	cpu, memory       int
}

// missesPerCell is the number of nodes that do not fit, or are equal to the previous node, after
// which the search leaves a cell. For a pod without rules, mostly the tightest cells have nodes
// that do not fit.
const missesPerCell = 16

// choose returns the node for a pod, or none.
//
// It compares a bounded number of the open nodes: first those with free cpu or free memory on the
// same level of the grid as the pod's, then nodes in rings, from the tightest fit outwards. The
// lowest score wins; between equal scores, the tighter fit wins. It opens an empty node if no open
// node fits, or if the empty node strands so much less that it is worth the charge (see
// opensEarly). For a pod with a known lifetime it considers an empty node only after it has
// compared every open one, so that a search that was cut short opens no node needlessly.
func (f *Fleet) choose(pod *Pod) int32 {
	if len(pod.Prefers) > 0 {
		f.search.preferring = true
		i := f.chooseAmong(pod)
		f.search.preferring = false
		if i != none {
			return i
		}
	}
	return f.chooseAmong(pod)
}

// chooseAmong is choose among the nodes that the pod prefers, or among all nodes.
func (f *Fleet) chooseAmong(pod *Pod) int32 {
	s := &f.search
	*s = search{pod: pod, preferring: s.preferring, onlyOpen: s.onlyOpen, constraints: s.constraints, least: pod.Size, best: none, second: noLimit, looks: f.params.Looks, last: Resources{-1, -1}}
	if pod.Lifetime > 0 {
		s.looks = f.params.LooksWithLifetime
	}
	s.constrained = f.constrain(s, pod)
	if s.constraints.impossible {
		return none
	}
	s.cpu, s.memory = f.grid.place(s.least)
	f.edges(s)
	f.rings(s)
	if s.best == none && s.cut {
		s.looks, s.thorough = f.params.Looks, true
		f.rings(s)
	}
	if s.onlyOpen {
		return s.best
	}
	empty := none
	if s.best == none || pod.Lifetime > 0 && s.looks > 0 || pod.Lifetime == 0 && f.opensEarly() {
		empty = f.emptyFor(s)
	}
	if s.best == none || empty != none && f.openingPrice(s, empty) < s.score {
		return empty
	}
	s.again = empty == none && !s.constrained && pod.Lifetime == 0
	return s.best
}

// chooseAgain is choose for a pod that is equal to the previous pod, after that pod was recorded on
// the node that choose returned. As long as that node is still better than all others that were
// compared, no other node has to be compared again. It returns none if a search is needed.
func (f *Fleet) chooseAgain() int32 {
	s := &f.search
	if !s.again {
		return none
	}
	i, n := s.best, &f.nodes[s.best]
	if !n.free.holds(s.pod.Size.plus(n.over)) || !holdsExtra(n.extra, s.pod.Extra) || f.opensEarly() {
		return none
	}
	s.best = none // without a best score to compare with, judge is exact
	score, tie := f.judge(s, n)
	s.best = i
	if score >= s.second {
		return none
	}
	s.score, s.tie, s.compared = score, tie, 1
	return i
}

// edges looks at the nodes with free cpu or free memory on the same level as the pod's.
func (f *Fleet) edges(s *search) {
	budget := s.looks
	for word := f.grid.rows[s.cpu] >> s.memory << s.memory; word != 0 && s.looks > budget*3/4; word &= word - 1 {
		f.look(s, s.cpu, bits.TrailingZeros64(word))
	}
	for word := f.grid.cols[s.memory] >> (s.cpu + 1) << (s.cpu + 1); word != 0 && s.looks > budget/2; word &= word - 1 {
		f.look(s, bits.TrailingZeros64(word), s.memory)
	}
}

// rings looks at the other cells with enough free capacity. Ring d has the cells that are d levels
// above the pod in one resource and at most d in the other.
func (f *Fleet) rings(s *search) {
	for d := 0; d < side && s.looks > 0; d++ {
		if cpu := s.cpu + d; cpu < side {
			for word := f.grid.rows[cpu] & span(s.memory, s.memory+d); word != 0 && s.looks > 0; word &= word - 1 {
				f.look(s, cpu, bits.TrailingZeros64(word))
			}
		}
		if memory := s.memory + d; memory < side && d > 0 {
			for word := f.grid.cols[memory] & span(s.cpu, s.cpu+d-1); word != 0 && s.looks > 0; word &= word - 1 {
				f.look(s, bits.TrailingZeros64(word), memory)
			}
		}
	}
}

// span returns a word in which the bits from low to high are set.
func span(low, high int) uint64 {
	return ^uint64(0) << low & (^uint64(0) >> (side - 1 - min(high, side-1)))
}

// look compares the nodes of a cell.
func (f *Fleet) look(s *search, cpu, memory int) {
	misses := 0
	for i := f.grid.head[cpu*side+memory]; i != none; i = f.nodes[i].next {
		n := &f.nodes[i]
		if !n.free.holds(s.pod.Size.plus(n.over)) || s.constrained && !f.allows(s, i) || len(s.pod.Extra) > 0 && !holdsExtra(n.extra, s.pod.Extra) {
			if misses++; misses >= missesPerCell && !s.thorough {
				s.cut = true
				return
			}
			continue
		}
		if n.free == s.last && n.over == s.lastOver && i > s.best && s.pod.Lifetime == 0 && n.oldest >= f.now {
			if misses++; misses >= missesPerCell && !s.thorough {
				return
			}
			s.second = min(s.second, s.lastScore)
			continue // equal to the previous node
		}
		s.last, s.lastOver = n.free, n.over
		s.compared++
		score, tie := f.judge(s, n)
		s.lastScore = score
		if s.best == none || score < s.score || score == s.score && (tie < s.tie || tie == s.tie && i < s.best) {
			if s.best != none {
				s.second = s.score
			}
			s.best, s.score, s.tie = i, score, tie
		} else {
			s.second = min(s.second, score)
		}
		if s.looks--; s.looks <= 0 {
			return
		}
	}
}

// judge returns the price of a pod on a node; lower is better. The tie is the larger of the shares
// of cpu and memory that would stay free. Between equal prices, the lower tie wins, which is best
// fit.
func (f *Fleet) judge(s *search, n *record) (score, tie float64) {
	rest := n.free.minus(s.pod.Size.plus(n.over))
	tie = max(float64(rest.CPUMillis)/f.mix.cpu, float64(rest.MemoryMiB)/f.mix.memory)
	if n.strandedFor != f.mix.version {
		n.strandedFor, n.stranded = f.mix.version, f.mix.stranded(n.free, noLimit)
	}
	before := n.stranded
	if s.pod.Lifetime > 0 && n.isOpen() && n.end != 0 {
		return f.params.TimeWeight*f.lifetimePrice(n, s.pod.Lifetime) + f.mix.stranded(rest, noLimit) - before, tie
	}
	if n.isOpen() && f.now > n.oldest {
		before += f.params.AgeWeight * doublings(f.now-n.oldest)
	}
	limit := noLimit
	if s.best != none && s.pod.Lifetime == 0 {
		limit = s.score + before // a node that strands more is not the best, so its exact value is not needed
		if limit < 0 {
			return noLimit, tie
		}
	}
	return f.mix.stranded(rest, limit) - before, tie
}

// doublings returns the base-2 logarithm of 1+v, linear between the powers of two because it is
// computed for every node in a search.
func doublings(v float64) float64 {
	const mantissa = 52
	x := math.Float64bits(1 + v)
	return float64(int(x>>mantissa)-1023) + float64(x&(1<<mantissa-1))/(1<<mantissa)
}

// opensEarly reports whether a node may be opened although an open one fits. The open nodes with
// usable free capacity are a stock, from which pods of every size can choose a node that they fit
// well. What the stock holds when the last pod has come was opened in vain, and nobody knows which
// pod is the last. A stock that grows with the square root of the open nodes is enough: packings
// that know only what has come so far lose an amount of this order to those that know the
// distribution (Gupta and Radovanović, "Interior-point-based online stochastic bin packing",
// Operations Research 2020), and its share of the cluster goes to zero. Stranded capacity is not in
// the stock. In a cluster where pods come and go, the pods that end free capacity anyway. So the
// more of the recent events are departures, the smaller is the stock.
func (f *Fleet) opensEarly() bool {
	stock := f.params.OpeningSlack * math.Sqrt(float64(f.open.nodes))
	return f.open.usable <= stock*max(0, 1-2*f.departing)+alwaysUsable
}

// alwaysUsable is the usable free capacity that is allowed in every cluster, in nodes, because the
// node that was opened last is not full yet.
const alwaysUsable = 2

// emptyFor returns the empty node that would be opened for the pod, or none. If only reserved nodes
// fit, it is one of the shape that holds the fewest pods. Shapes of one tier are about the same, so
// the first that fits stands for all. There may be as many shapes as nodes, but few tiers.
func (f *Fleet) emptyFor(s *search) int32 {
	o := &f.opening
	o.learn(&f.mix)
	var best, breaks *shape
	at, breaksAt := none, none
	for k := range o.tiers {
		t := &o.tiers[k]
		if t.ownEmpty == 0 || !t.largest.holds(s.pod.Size) {
			continue
		}
		x, i := f.firstOf(s, t)
		switch {
		case i == none || best != nil && !o.better(x, best):
		case !o.reserved(t):
			best, at = x, i
		case breaks == nil || x.worth < breaks.worth:
			breaks, breaksAt = x, i
		}
	}
	if best == nil {
		return breaksAt
	}
	return at
}

// firstOf returns the first shape of a tier that has an empty node for the pod, and the node, or
// none.
func (f *Fleet) firstOf(s *search, t *tier) (*shape, int32) {
	o := &f.opening
	for t.first < len(t.shapes) && len(o.shapes[t.shapes[t.first]].empty) == 0 {
		t.first++
	}
	for _, k := range t.shapes[t.first:] {
		x := &o.shapes[k]
		if len(x.empty) == 0 || !x.capacity.holds(s.pod.Size.plus(x.over)) {
			continue
		}
		if i := f.firstAllowed(s, x); i != none {
			return x, i
		}
	}
	return nil, none
}

// firstAllowed returns the first empty node of a shape that the pod's rules allow.
func (f *Fleet) firstAllowed(s *search, x *shape) int32 {
	if !s.constrained && holdsExtra(f.nodes[x.empty[0]].extra, s.pod.Extra) {
		return x.empty[0]
	}
	found := none
	for _, i := range x.empty {
		if (found == none || i < found) && holdsExtra(f.nodes[i].extra, s.pod.Extra) && (!s.constrained || f.allows(s, i)) {
			found = i
		}
	}
	return found
}
