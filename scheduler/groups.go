package scheduler

import (
	"maps"
	"slices"
)

// groups counts the pods of each group by node and by the values of the labels that its rules name.
type groups struct {
	index map[string]int32
	all   []group
}

type group struct {
	nodes map[int32]int32            // pods by node
	by    map[string]map[int32]int32 // pods by value of a label, for the labels that some pod of the group has named
}

func newGroups() groups { return groups{index: map[string]int32{}} }

// rules are what a pod asks of a node beside room, made ready for looking at many nodes.
type rules struct {
	pairs      []int32
	apart      map[int32]int32
	spread     map[int32]int32
	spreadMost int32 // how many of the group a value may have before this pod comes
	impossible bool  // no node has a label that is asked for
}

// rulesOf prepares a pod's rules, and tells whether there are any.
func (g *groups) rulesOf(l *labels, pod *Pod) (r rules, constrained bool) {
	if len(pod.Selector) == 0 && pod.Apart == "" && pod.Spread == "" {
		return r, false
	}
	for k, v := range pod.Selector {
		if k == NodeLabel {
			continue // looked at by name
		}
		id, known := l.pairs[[2]string{k, v}]
		if !known {
			r.impossible = true
			return r, true
		}
		r.pairs = append(r.pairs, id)
	}
	if pod.Apart != "" {
		r.apart = g.counts(l, pod.Group, pod.Apart)
	}
	if pod.Spread != "" {
		r.spread = g.counts(l, pod.Group, pod.Spread)
		r.spreadMost = g.fewest(l, r.spread, pod.Spread) + int32(max(1, pod.MaxSkew)) - 1
	}
	return r, true
}

// fewest is the smallest number of pods that any value of the label has.
func (*groups) fewest(l *labels, counts map[int32]int32, key string) int32 {
	values := len(l.of)
	if key != NodeLabel {
		d := l.domains[key]
		if d == nil {
			return 0
		}
		values = len(d.values)
	}
	if len(counts) < values {
		return 0
	}
	var least int32 = -1
	for _, n := range counts {
		if least < 0 || n < least {
			least = n
		}
	}
	return max(0, least)
}

// counts are the group's pods by the values of a label. They are counted when a rule first names the label, and kept from then on.
func (g *groups) counts(l *labels, name, key string) map[int32]int32 {
	x := &g.all[g.group(name)]
	if key == NodeLabel {
		return x.nodes
	}
	counts := x.by[key]
	if counts == nil {
		counts = map[int32]int32{}
		for node, n := range x.nodes {
			if v := l.at(key, node); v != none {
				counts[v] += n
			}
		}
		x.by[key] = counts
	}
	return counts
}

func (g *groups) group(name string) int32 {
	i, known := g.index[name]
	if !known {
		i = int32(len(g.all))
		g.index[name] = i
		g.all = append(g.all, group{nodes: map[int32]int32{}, by: map[string]map[int32]int32{}})
	}
	return i
}

// join counts a pod on a node and returns its group, or none.
func (g *groups) join(l *labels, pod *Pod, node int32) int32 {
	if pod.Group == "" && pod.Apart == "" && pod.Spread == "" {
		return none
	}
	i := g.group(pod.Group)
	g.add(l, i, node, 1)
	return i
}

// part counts a pod of the group out.
func (g *groups) part(l *labels, i, node int32) {
	if i != none {
		g.add(l, i, node, -1)
	}
}

func (g *groups) add(l *labels, i, node, n int32) {
	x := &g.all[i]
	change(x.nodes, node, n)
	for key, counts := range x.by {
		if v := l.at(key, node); v != none {
			change(counts, v, n)
		}
	}
}

func change(counts map[int32]int32, key, by int32) {
	if counts[key] += by; counts[key] <= 0 {
		delete(counts, key)
	}
}

// allows tells whether the pod's rules let it on the node.
func (f *Fleet) allows(s *search, i int32) bool {
	return f.selects(s, i) && f.apart(s, i) && f.spreads(s, i)
}

func (f *Fleet) selects(s *search, i int32) bool {
	if name, asked := s.pod.Selector[NodeLabel]; asked && name != f.names[i] {
		return false
	}
	for _, pair := range s.rules.pairs {
		if _, has := slices.BinarySearch(f.labels.of[i], pair); !has {
			return false
		}
	}
	return true
}

// apart holds where no pod of the group has the same value of the label. A node without the label cannot keep the promise.
func (f *Fleet) apart(s *search, i int32) bool {
	if s.pod.Apart == "" {
		return true
	}
	v := f.labels.at(s.pod.Apart, i)
	return v != none && s.rules.apart[v] == 0
}

func (f *Fleet) spreads(s *search, i int32) bool {
	if s.pod.Spread == "" {
		return true
	}
	v := f.labels.at(s.pod.Spread, i)
	return v != none && s.rules.spread[v] <= s.rules.spreadMost
}

func (g *groups) clone() groups {
	c := groups{index: maps.Clone(g.index), all: make([]group, len(g.all))}
	for i, x := range g.all {
		y := group{nodes: maps.Clone(x.nodes), by: map[string]map[int32]int32{}}
		for k, counts := range x.by {
			y.by[k] = maps.Clone(counts)
		}
		c.all[i] = y
	}
	return c
}
