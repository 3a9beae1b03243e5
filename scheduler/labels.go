package scheduler

import (
	"maps"
	"slices"
)

// labels knows the nodes' labels as small numbers: a key=value pair has one, and so has every value of a key.
type labels struct {
	pairs   map[[2]string]int32
	of      [][]int32 // pairs of a node
	domains map[string]*domain
}

// domain is the values of one label over the nodes: the zones, the racks, the nodes themselves.
type domain struct {
	values map[string]int32
	of     []int32 // by node; none where the node lacks the label
}

func newLabels() labels {
	return labels{pairs: map[[2]string]int32{}, domains: map[string]*domain{}}
}

func (l *labels) add(n Node) {
	i := len(l.of)
	var pairs []int32
	for k, v := range n.Labels {
		id, known := l.pairs[[2]string{k, v}]
		if !known {
			id = int32(len(l.pairs))
			l.pairs[[2]string{k, v}] = id
		}
		pairs = append(pairs, id)
		l.domain(k, i)
		l.value(k, v)
	}
	slices.Sort(pairs)
	l.of = append(l.of, pairs)
}

func (l *labels) domain(key string, nodes int) *domain {
	d := l.domains[key]
	if d == nil {
		d = &domain{values: map[string]int32{}}
		l.domains[key] = d
	}
	for len(d.of) < nodes {
		d.of = append(d.of, none)
	}
	return d
}

func (l *labels) value(key, value string) {
	d := l.domains[key]
	id, known := d.values[value]
	if !known {
		id = int32(len(d.values))
		d.values[value] = id
	}
	d.of = append(d.of, id)
}

// at is a node's value of a label, as a number, or none. NodeLabel is the node itself.
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

func (l *labels) clone() labels {
	c := labels{pairs: maps.Clone(l.pairs), of: slices.Clone(l.of), domains: map[string]*domain{}}
	for k, d := range l.domains {
		c.domains[k] = &domain{values: maps.Clone(d.values), of: slices.Clone(d.of)}
	}
	return c
}
