// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// record is what the fleet knows about a node. It is small because a search visits many.
type record struct {
	free, over  Resources
	next, prev  int32   // in the list of the cell
	cell        int32   // none while the node is empty or not ready
	slot        int32   // position in the heap of its shape's empty nodes; none if it is not in the heap
	shape       int32   // for the opening rule
	pods        int32   // how many pods run there, of those that this fleet placed
	first       int32   // the first of them
	leaving     int32   // how many of them are leaving
	claims      int32   // for how many pods capacity is held until the leaving pods have left
	ready       bool    // takes pods
	base        bool    // something was allocated before this fleet placed pods
	strandedFor uint32  // the version of the mix for which stranded was computed
	stranded    float64 // the stranded part of the free capacity
	usable      float64 // the usable part of the free capacity when it was last counted
	oldest      float64 // when the oldest pod was placed
	end         float64 // when the last pod is expected to end; 0 is unknown
	extra       []int
}

// running is a pod that the fleet placed.
type running struct {
	size       Resources
	extra      []int
	terms      *terms // nil for a pod that requires only cpu and memory
	priority   int32
	node       int32
	next, prev int32 // in the list of the same node
	leaving    bool  // is being stopped
	held       bool  // not a pod, but capacity that is held for one
	since, end float64
	hint       float64 // the announced lifetime, if any
}

// Handle identifies a pod that a fleet placed, until it is released.
type Handle int32

// Fleet is the index of the free capacity of a cluster. Place, Release, AddNode and SetReady update
// it at a cost that does not depend on the number of nodes. A Clone is a snapshot: it shares no
// mutable state. A Fleet is for one goroutine.
//
// NewFleet sorts the nodes by id, so it does not matter in which order they are given. AddNode
// appends. Among equal nodes that a search finds, the smaller index wins, and a search visits nodes
// in a fixed order. So the same history gives the same decisions.
type Fleet struct {
	params Params
	now    float64
	// departing is the share of departures among the recent placements and releases.
	departing float64
	names     []string
	cap       []Resources
	nodes     []record
	pods      []running
	free      []int32 // slots of released pods
	grid      grid
	opening   opening
	mix       mix
	labels    labels
	groups    groups
	hints     hints
	tainted   bool // some node has a taint
	// priorities counts the running pods that are not leaving, by priority.
	priorities map[int32]int32

	open struct { // totals of the open nodes that are ready
		nodes  int
		usable float64 // see mix.usable
	}
	search search
}

// NewFleet indexes the nodes.
func NewFleet(nodes []Node, params Params) *Fleet {
	f := &Fleet{params: params, mix: newMix(), opening: newOpening(params), labels: newLabels(), groups: newGroups(), hints: hints{factor: 1}, priorities: map[int32]int32{}}
	var largest, sum Resources
	for _, n := range nodes {
		largest.CPUMillis, largest.MemoryMiB = max(largest.CPUMillis, n.Capacity.CPUMillis), max(largest.MemoryMiB, n.Capacity.MemoryMiB)
		sum = sum.plus(n.Capacity)
	}
	f.grid = newGrid(largest)
	if len(nodes) > 0 {
		f.mix.cpu = max(1, float64(sum.CPUMillis)/float64(len(nodes)))
		f.mix.memory = max(1, float64(sum.MemoryMiB)/float64(len(nodes)))
	}
	order := make([]int32, len(nodes))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(nodes[a].ID, nodes[b].ID) })
	f.nodes = make([]record, 0, len(nodes))
	f.names, f.cap = make([]string, 0, len(nodes)), make([]Resources, 0, len(nodes))
	for _, i := range order {
		f.AddNode(nodes[i])
	}
	return f
}

// AddNode adds a node and returns its index, which the other methods take.
func (f *Fleet) AddNode(n Node) int {
	i := int32(len(f.nodes))
	f.names, f.cap = append(f.names, n.ID), append(f.cap, n.Capacity)
	f.nodes = append(f.nodes, record{
		free: n.Capacity.minus(n.Allocated), over: n.Overhead, next: none, prev: none, cell: none, slot: none, first: none,
		shape: f.opening.shapeOf(n.Capacity, n.Overhead), base: n.Allocated != Resources{}, extra: slices.Clone(n.Extra), oldest: f.now,
	})
	f.labels.add(n)
	f.tainted = f.tainted || len(n.Taints) > 0
	f.SetReady(int(i), n.Ready)
	return int(i)
}

// ChangeNode gives a node without pods another capacity, other labels or other taints. Its id stays.
func (f *Fleet) ChangeNode(node int, n Node) {
	f.SetReady(node, false)
	f.cap[node] = n.Capacity
	r := &f.nodes[node]
	r.free, r.over, r.shape = n.Capacity.minus(n.Allocated), n.Overhead, f.opening.shapeOf(n.Capacity, n.Overhead)
	r.base, r.extra, r.strandedFor = n.Allocated != Resources{}, slices.Clone(n.Extra), 0
	f.labels.set(node, n)
	f.tainted = f.tainted || len(n.Taints) > 0
	f.SetReady(node, n.Ready)
}

// RemoveNode removes a node without pods. Its index stays unused.
func (f *Fleet) RemoveNode(node int) {
	f.SetReady(node, false)
	f.labels.remove(node)
}

// SetReady sets whether a node takes pods. A drained or lost node does not; the pods that run there
// can still be released.
func (f *Fleet) SetReady(node int, ready bool) {
	n := &f.nodes[node]
	if n.ready == ready {
		return
	}
	if ready {
		n.ready = true
		f.opening.count(n.shape, 1, 0)
		f.enter(int32(node))
		return
	}
	f.leave(int32(node))
	f.opening.count(n.shape, -1, 0)
	n.ready = false
}

func (n *record) isOpen() bool { return n.pods > 0 || n.base }

// enter adds a ready node to the index: to the empty nodes or to the grid.
func (f *Fleet) enter(i int32) {
	n := &f.nodes[i]
	if !n.ready {
		return
	}
	if !n.isOpen() {
		f.opening.put(f.nodes, i)
		return
	}
	f.grid.insert(f.nodes, i)
	f.tally(i, 1)
}

// leave removes a node from where enter put it.
func (f *Fleet) leave(i int32) {
	n := &f.nodes[i]
	if n.slot != none {
		f.opening.take(f.nodes, i)
	}
	if n.cell != none {
		f.grid.remove(f.nodes, i)
		f.tally(i, -1)
	}
}

// tally counts the open nodes and their usable free capacity.
func (f *Fleet) tally(i int32, sign int) {
	n := &f.nodes[i]
	if sign > 0 {
		n.usable = f.mix.usable(n.free)
	}
	f.open.nodes += sign
	f.open.usable += float64(sign) * n.usable
}

// At sets the current time, in seconds of any clock. It only affects pods with a lifetime, and the
// age of nodes.
func (f *Fleet) At(seconds float64) { f.now = seconds }

// Node returns the id of the node with this index.
func (f *Fleet) Node(node int) string { return f.names[node] }

// NodeOf returns the index of the node that a pod runs on.
func (f *Fleet) NodeOf(h Handle) int { return int(f.pods[h].node) }

// Free returns the free capacity of a node.
func (f *Fleet) Free(node int) Resources { return f.nodes[node].free }

// Len returns the number of nodes.
func (f *Fleet) Len() int { return len(f.nodes) }

// Open returns the number of ready nodes with at least one pod.
func (f *Fleet) Open() int { return f.open.nodes }

// Place chooses a node for a pod and records the pod there. It usually allocates no memory except
// for the records of pods.
func (f *Fleet) Place(pod *Pod) (Handle, bool) {
	f.mix.see(pod.Size)
	i := f.choose(pod)
	if i == none {
		return Handle(none), false
	}
	return f.assign(i, pod), true
}

// PlaceOn records a pod that already runs on a node, or that was placed by somebody else. It fails
// if the pod does not fit.
func (f *Fleet) PlaceOn(node int, pod *Pod) (Handle, bool) {
	n := &f.nodes[node]
	if !n.free.holds(pod.Size.plus(n.over)) || !holdsExtra(n.extra, pod.Extra) {
		return Handle(none), false
	}
	f.mix.see(pod.Size)
	return f.assign(int32(node), pod), true
}

// Adopt records a pod that already runs on a node, since the given time, whether it fits or not.
func (f *Fleet) Adopt(node int, pod *Pod, since float64) Handle {
	f.mix.see(pod.Size)
	now := f.now
	f.now = since
	h := f.assign(int32(node), pod)
	f.now = now
	f.retime(&f.nodes[node])
	return h
}

// memory is roughly the number of placements and releases over which departures are counted.
const memory = 1000

func (f *Fleet) assign(i int32, pod *Pod) Handle {
	f.departing -= f.departing / memory
	f.leave(i)
	n := &f.nodes[i]
	n.free = n.free.minus(pod.Size.plus(n.over))
	for r, v := range pod.Extra {
		if v != 0 {
			n.extra[r] -= v
		}
	}
	if n.pods == 0 && !n.base {
		n.oldest, n.end = f.now, 0
	}
	var h int32
	if last := len(f.free) - 1; last >= 0 {
		h = f.free[last]
		f.free = f.free[:last]
	} else {
		h = int32(len(f.pods))
		f.pods = append(f.pods, running{})
	}
	p := running{size: pod.Size, extra: pod.Extra, node: i, prev: none, next: n.first, since: f.now, priority: int32(pod.Priority), terms: f.join(pod, i)}
	if pod.Lifetime > 0 {
		p.end, p.hint = f.now+pod.Lifetime*f.hints.factor, pod.Lifetime
		n.end = max(n.end, p.end)
	}
	f.pods[h] = p
	if n.first != none {
		f.pods[n.first].prev = h
	}
	n.first = h
	n.pods++
	n.strandedFor = 0
	f.priorities[p.priority]++
	f.enter(i)
	return Handle(h)
}

// Release removes a pod from its node.
func (f *Fleet) Release(h Handle) {
	f.leaving(h, true)
	f.departing += (1 - f.departing) / memory
	p := f.pods[h]
	if p.hint > 0 && f.now > p.since { // false if a placement is undone
		f.hints.learn(f.now-p.since, p.hint)
	}
	i := p.node
	f.leave(i)
	n := &f.nodes[i]
	n.free = n.free.plus(p.size.plus(n.over))
	for r, v := range p.extra {
		n.extra[r] += v
	}
	if p.next != none {
		f.pods[p.next].prev = p.prev
	}
	if p.prev != none {
		f.pods[p.prev].next = p.next
	} else {
		n.first = p.next
	}
	n.pods--
	if p.held {
		n.claims--
	} else {
		n.leaving--
	}
	n.strandedFor = 0
	f.count(p.terms, i, -1)
	if n.pods > 0 && (n.oldest == p.since && p.since < f.now || p.end > 0 && p.end == n.end) {
		f.retime(n)
	}
	f.pods[h] = running{}
	f.free = append(f.free, int32(h))
	f.enter(i)
}

// Forget removes a pod from its node as if it had never been there. The fleet learns nothing from
// its end.
func (f *Fleet) Forget(h Handle) {
	departing := f.departing
	f.pods[h].hint = 0
	f.Release(h)
	f.departing = departing
}

// retime finds the oldest pod of a node and the last one to end.
func (f *Fleet) retime(n *record) {
	oldest, end := math.Inf(1), 0.0
	if n.base {
		oldest = n.oldest
	}
	for h := n.first; h != none; h = f.pods[h].next {
		oldest, end = min(oldest, f.pods[h].since), max(end, f.pods[h].end)
	}
	n.oldest, n.end = oldest, end
}

// Clone returns a snapshot. Changes to either do not affect the other.
func (f *Fleet) Clone() *Fleet {
	c := *f
	c.names, c.cap, c.nodes, c.pods, c.free = slices.Clone(f.names), slices.Clone(f.cap), slices.Clone(f.nodes), slices.Clone(f.pods), slices.Clone(f.free)
	for i := range c.nodes {
		c.nodes[i].extra = slices.Clone(c.nodes[i].extra)
	}
	c.opening.shapes, c.opening.tiers = slices.Clone(f.opening.shapes), slices.Clone(f.opening.tiers)
	for i := range c.opening.shapes {
		c.opening.shapes[i].empty = slices.Clone(c.opening.shapes[i].empty)
	}
	for i := range c.opening.tiers {
		t := &c.opening.tiers[i]
		t.below, t.shapes = slices.Clone(t.below), slices.Clone(t.shapes)
	}
	c.opening.byShape, c.opening.byTier = maps.Clone(f.opening.byShape), maps.Clone(f.opening.byTier)
	c.mix.index, c.mix.sizes, c.mix.counts, c.mix.types = maps.Clone(f.mix.index), slices.Clone(f.mix.sizes), slices.Clone(f.mix.counts), slices.Clone(f.mix.types)
	c.mix.quick = slices.Clone(f.mix.quick)
	c.labels, c.groups, c.priorities, c.search = f.labels.clone(), f.groups.clone(), maps.Clone(f.priorities), search{}
	return &c
}

func holdsExtra(have, want []int) bool {
	for r, v := range want {
		if v > 0 && (r >= len(have) || have[r] < v) {
			return false
		}
	}
	return true
}

// Size returns the size with which a pod was recorded.
func (f *Fleet) Size(h Handle) Resources { return f.pods[h].size }
