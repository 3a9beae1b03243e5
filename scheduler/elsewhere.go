// SPDX-License-Identifier: Apache-2.0

package scheduler

import "maps"

// Elsewhere chooses the node that a running pod moves to: the one that a placement would choose if the pod were not there, among those for which may(node)
// is true, if it is not nil. The node has to have the labels of needs too. If there is none, it says why. The fleet is not changed.
func (f *Fleet) Elsewhere(h Handle, needs map[string]string, may func(node int) bool) (to int, why Refusal, ok bool) {
	c := f.Clone()
	was := c.pods[h]
	pod := was.asPod(c.now)
	if len(needs) > 0 {
		selector := maps.Clone(needs)
		maps.Copy(selector, pod.Selector)
		pod.Selector = selector
	}
	c.Forget(h)
	for at := range c.nodes {
		if at == int(was.node) || may != nil && !may(at) {
			c.SetReady(at, false)
		}
	}
	if i := c.choose(&pod); i != none {
		return int(i), Refusal{}, true
	}
	return 0, c.explain(&pod, false), false
}

// MayStop reports whether a running pod can be stopped without breaking a disruption limit.
func (f *Fleet) MayStop(h Handle) bool {
	var spent map[int32]int32
	return f.mayDisrupt(&f.pods[h], &spent)
}
