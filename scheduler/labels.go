// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"maps"
	"slices"
)

// labels maps the nodes' labels to small numbers, and keeps their taints. Every key=value pair has a
// number that is unique over all keys. Every value also has a number within its key; see domain.
type labels struct {
	pairs   map[[2]string]int32
	of      [][]int32 // the pairs of each node
	taints  [][]string
	nodes   int // without the removed ones
	domains map[string]*domain
}

// domain is the values of one label over the nodes: for example the zones, the racks or the nodes
// themselves.
type domain struct {
	values map[string]int32
	of     []int32 // by node; none if the node does not have the label
	nodes  []int32 // the number of nodes by value
	inUse  int     // values that some node has
}

func newLabels() labels {
	return labels{pairs: map[[2]string]int32{}, domains: map[string]*domain{}}
}

func (l *labels) add(n Node) {
	l.of, l.taints = append(l.of, nil), append(l.taints, nil)
	l.nodes++
	l.set(len(l.of)-1, n)
}

// remove removes the labels and taints of a node for good.
func (l *labels) remove(i int) {
	l.set(i, Node{})
	l.nodes--
}

// set replaces the labels and taints of a node.
func (l *labels) set(i int, n Node) {
	for _, d := range l.domains {
		d.set(i, none)
	}
	var pairs []int32
	one := func(k, v string) {
		id, known := l.pairs[[2]string{k, v}]
		if !known {
			id = int32(len(l.pairs))
			l.pairs[[2]string{k, v}] = id
		}
		pairs = append(pairs, id)
		l.domain(k).set(i, l.domain(k).value(v))
	}
	for k, v := range n.Labels {
		if k != NodeLabel && k != PoolLabel { // built in; a label cannot set these
			one(k, v)
		}
	}
	if n.Pool != "" {
		one(PoolLabel, n.Pool)
	}
	slices.Sort(pairs)
	l.of[i], l.taints[i] = pairs, n.Taints
}

func (l *labels) domain(key string) *domain {
	d := l.domains[key]
	if d == nil {
		d = &domain{values: map[string]int32{}}
		l.domains[key] = d
	}
	return d
}

// value returns the number of a value.
func (d *domain) value(value string) int32 {
	id, known := d.values[value]
	if !known {
		id = int32(len(d.values))
		d.values[value] = id
		d.nodes = append(d.nodes, 0)
	}
	return id
}

// set sets the value of a node, or none.
func (d *domain) set(node int, value int32) {
	if value == none && node >= len(d.of) {
		return
	}
	for len(d.of) <= node {
		d.of = append(d.of, none)
	}
	if was := d.of[node]; was != none {
		if d.nodes[was]--; d.nodes[was] == 0 {
			d.inUse--
		}
	}
	if d.of[node] = value; value != none {
		if d.nodes[value]++; d.nodes[value] == 1 {
			d.inUse++
		}
	}
}

// at returns a node's value of a label as a number, or none. NodeLabel is the node itself.
func (l *labels) at(key string, node int32) int32 {
	if key == NodeLabel {
		return node
	}
	d := l.domains[key]
	if d == nil || int(node) >= len(d.of) {
		return none
	}
	return d.of[node]
}

// all appends the numbers of the required labels to a list. known is false if one of these
// labels is on no node. NodeLabel is left out, because its lookup uses the id.
func (l *labels) all(asked map[string]string, list []int32) (pairs []int32, known bool) {
	for k, v := range asked {
		if k == NodeLabel {
			continue
		}
		id, has := l.pairs[[2]string{k, v}]
		if !has {
			return list, false
		}
		list = append(list, id)
	}
	return list, true
}

func (l *labels) has(node int32, pairs []int32) bool {
	for _, pair := range pairs {
		if _, has := slices.BinarySearch(l.of[node], pair); !has {
			return false
		}
	}
	return true
}

// tolerated reports whether a pod tolerates every taint of a node.
func (l *labels) tolerated(node int32, tolerates []string) bool {
	for _, taint := range l.taints[node] {
		if !slices.Contains(tolerates, taint) {
			return false
		}
	}
	return true
}

func (l *labels) clone() labels {
	c := labels{pairs: maps.Clone(l.pairs), of: slices.Clone(l.of), taints: slices.Clone(l.taints), nodes: l.nodes, domains: map[string]*domain{}}
	for k, d := range l.domains {
		c.domains[k] = &domain{values: maps.Clone(d.values), of: slices.Clone(d.of), nodes: slices.Clone(d.nodes), inUse: d.inUse}
	}
	return c
}
