// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"maps"
	"slices"
)

// groups counts the pods of each group by node, and by the values of the labels that rules name.
type groups struct {
	index map[string]int32
	all   []group
}

// counts are numbers of pods by the value of a label, or by node.
type counts map[int32]int32

type group struct {
	nodes   counts            // pods by node
	running int32             // all pods
	staying int32             // those of them that are not leaving
	by      map[string]counts // pods by value of a label, for the labels that some rule has named
	keeps   counts            // running pods, by how many pods of the group they require to stay; see Disruption
	guards  map[string]counts // pods with an anti-affinity to this group, by the value of the label that the rule names
}

func newGroups() groups { return groups{index: map[string]int32{}} }

// terms is what a running pod required in addition to cpu and memory. The fleet keeps it to remove the pod
// from the counts, to move it, or to protect it.
type terms struct {
	pod      Pod // its rules and selectors; size and lifetime are in the running pod
	groups   []int32
	guarding []int32   // the groups to which it has an anti-affinity, in the order of these rules
	claim    Resources // for held capacity: the part that still has to become free
}

// constraints are what a pod requires of a node in addition to cpu and memory, prepared for checking many
// nodes.
type constraints struct {
	pairs      []int32 // the labels that the selector requires
	preferred  []int32 // the labels that are also required while search.preferring is set
	where      []bound
	impossible bool // one of the required labels is on no node
}

// bound is one rule, applied to the values of one label.
type bound struct {
	over   string
	counts counts
	most   int32 // the most pods that a node's value may already have
	least  int32 // the fewest pods that it must already have
}

// constrain prepares a pod's constraints for the search, and reports whether nodes have to be
// checked against them.
func (f *Fleet) constrain(s *search, pod *Pod) (constrained bool) {
	c := &s.constraints
	c.pairs, c.preferred, c.where, c.impossible = c.pairs[:0], c.preferred[:0], c.where[:0], false
	constrained = f.tainted || len(pod.Selector) > 0 || len(pod.Rules) > 0 || s.preferring
	var known bool
	if c.pairs, known = f.labels.all(pod.Selector, c.pairs); !known {
		c.impossible = true
		return true
	}
	if s.preferring {
		if c.preferred, known = f.labels.all(pod.Prefers, c.preferred); !known {
			c.impossible = true
			return true
		}
	}
	for _, r := range pod.Rules {
		g := f.groups.group(r.Group)
		b := bound{over: r.Over, counts: f.groups.counts(&f.labels, g, r.Over), most: 1<<31 - 1}
		switch r.Kind {
		case Apart:
			b.most = 0
		case Near:
			if f.groups.all[g].running > 0 {
				b.least = 1
			}
		case Spread:
			b.most = f.labels.fewest(b.counts, r.Over) + int32(max(1, r.MaxSkew)) - 1
		}
		c.where = append(c.where, b)
	}
	for _, name := range pod.Groups {
		g, known := f.groups.index[name]
		if !known {
			continue
		}
		for over, guards := range f.groups.all[g].guards {
			if len(guards) > 0 {
				c.where = append(c.where, bound{over: over, counts: guards, most: 0, least: anywhere})
				constrained = true
			}
		}
	}
	return constrained
}

// anywhere marks a bound that a node without the label satisfies.
const anywhere = int32(-1)

// fewest returns the smallest number of pods of any value of the label.
func (l *labels) fewest(by counts, key string) int32 {
	values := l.nodes
	if key != NodeLabel {
		d := l.domains[key]
		if d == nil {
			return 0
		}
		values = d.inUse
	}
	if len(by) < values {
		return 0
	}
	var least int32 = -1
	for _, n := range by {
		if least < 0 || n < least {
			least = n
		}
	}
	return max(0, least)
}

// counts returns the group's pods by the values of a label. They are counted when a rule first
// names the label, and updated from then on.
func (g *groups) counts(l *labels, i int32, key string) counts {
	x := &g.all[i]
	if key == NodeLabel {
		return x.nodes
	}
	by := x.by[key]
	if by == nil {
		by = counts{}
		for node, n := range x.nodes {
			if v := l.at(key, node); v != none {
				by[v] += n
			}
		}
		x.by[key] = by
	}
	return by
}

func (g *groups) group(name string) int32 {
	i, known := g.index[name]
	if !known {
		i = int32(len(g.all))
		g.index[name] = i
		g.all = append(g.all, group{nodes: counts{}, keeps: counts{}, by: map[string]counts{}, guards: map[string]counts{}})
	}
	return i
}

// join adds a pod on a node to the counts, and returns its terms, or nil if it requires only cpu,
// memory and further resources.
func (f *Fleet) join(pod *Pod, node int32) *terms {
	if len(pod.Groups) == 0 && len(pod.Rules) == 0 && len(pod.Selector) == 0 && len(pod.Prefers) == 0 && len(pod.Tolerates) == 0 && pod.Disruption == (Disruption{}) {
		return nil
	}
	t := &terms{pod: *pod}
	for _, name := range pod.Groups {
		t.groups = append(t.groups, f.groups.group(name))
	}
	for _, r := range pod.Rules {
		if r.Kind == Apart {
			t.guarding = append(t.guarding, f.groups.group(r.Group))
		}
	}
	f.count(t, node, 1)
	return t
}

// count adds a pod to the counts of its groups, or removes it.
func (f *Fleet) count(t *terms, node, n int32) {
	if t == nil {
		return
	}
	for _, i := range t.groups {
		x := &f.groups.all[i]
		x.running += n
		x.staying += max(0, n) // a leaving pod was already subtracted
		x.nodes.change(node, n)
		for key, by := range x.by {
			by.change(f.labels.at(key, node), n)
		}
	}
	if d := t.pod.Disruption; d.Group != "" && d.Keep > 0 {
		f.groups.all[f.groups.group(d.Group)].keeps.change(int32(min(d.Keep, 1<<30)), n)
	}
	at := 0
	for _, r := range t.pod.Rules {
		if r.Kind != Apart {
			continue
		}
		x := &f.groups.all[t.guarding[at]]
		at++
		if x.guards[r.Over] == nil {
			x.guards[r.Over] = counts{}
		}
		x.guards[r.Over].change(f.labels.at(r.Over, node), n)
	}
}

func (c counts) change(key, by int32) {
	if key == none {
		return
	}
	if c[key] += by; c[key] <= 0 {
		delete(c, key)
	}
}

// allows reports whether the pod's rules allow the node.
func (f *Fleet) allows(s *search, i int32) bool {
	return f.labels.tolerated(i, s.pod.Tolerates) && f.selects(s, i) && f.uncrowded(s, i)
}

func (f *Fleet) selects(s *search, i int32) bool {
	if name, asked := s.pod.Selector[NodeLabel]; asked && name != f.names[i] {
		return false
	}
	if s.preferring {
		if name, asked := s.pod.Prefers[NodeLabel]; asked && name != f.names[i] || !f.labels.has(i, s.constraints.preferred) {
			return false
		}
	}
	return f.labels.has(i, s.constraints.pairs)
}

// uncrowded reports whether the pod's rules about groups allow the node.
func (f *Fleet) uncrowded(s *search, i int32) bool {
	for w := range s.constraints.where {
		b := &s.constraints.where[w]
		v := f.labels.at(b.over, i)
		if v == none {
			if b.least == anywhere {
				continue
			}
			return false
		}
		if n := b.counts[v]; n > b.most || n < b.least {
			return false
		}
	}
	return true
}

func (g *groups) clone() groups {
	c := groups{index: maps.Clone(g.index), all: slices.Clone(g.all)}
	for i, x := range g.all {
		c.all[i].nodes, c.all[i].keeps, c.all[i].by, c.all[i].guards = maps.Clone(x.nodes), maps.Clone(x.keeps), cloneAll(x.by), cloneAll(x.guards)
	}
	return c
}

func cloneAll(all map[string]counts) map[string]counts {
	c := make(map[string]counts, len(all))
	for k, by := range all {
		c[k] = maps.Clone(by)
	}
	return c
}
