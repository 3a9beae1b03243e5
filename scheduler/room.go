// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"cmp"
	"slices"
)

// roomTries is on how many nodes MakeRoom tries to find other nodes for the pods.
const roomTries = 64

// MakeRoom proposes to move at most so many running pods, so that a pod that fits on no node fits on
// one. Each pod moves to the node that a placement would choose, which may be an empty one. The
// nodes from which only small pods have to move are tried first, because these fit on most other
// nodes. Pods for which may(pod) is false stay, and others of their nodes move instead; a nil
// function means that all may move. The fleet is not changed.
func (f *Fleet) MakeRoom(pod *Pod, most int, may func(Handle) bool) (node int, moves []Move, ok bool) {
	c := f.Clone()
	s := &c.search
	*s = search{pod: pod}
	if s.constrained = c.constrain(s, pod); s.constraints.impossible {
		return 0, nil, false
	}
	type candidate struct {
		node    int32
		pods    []Handle
		largest Resources // of the pods that have to move
	}
	var candidates []candidate
	for at := range c.nodes {
		i, n := int32(at), &c.nodes[at]
		if !n.ready || n.leaving > 0 || n.claims > 0 || !c.cap[at].holds(pod.Size.plus(n.over)) || s.constrained && !c.allows(s, i) {
			continue
		}
		if pods, _, ok := c.vacate(i, pod, false, noLimit, may); ok && len(pods) <= most {
			x := candidate{node: i, pods: pods}
			for _, h := range pods {
				size := c.pods[h].size
				x.largest = Resources{max(x.largest.CPUMillis, size.CPUMillis), max(x.largest.MemoryMiB, size.MemoryMiB)}
			}
			candidates = append(candidates, x)
		}
	}
	slices.SortFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(c.mix.share(a.largest), c.mix.share(b.largest)), cmp.Compare(len(a.pods), len(b.pods)), cmp.Compare(a.node, b.node))
	})
	for _, x := range candidates[:min(len(candidates), roomTries)] {
		leave := make([]int32, len(x.pods))
		for k, h := range x.pods {
			leave[k] = int32(h)
		}
		if moves, ok = c.relocate(x.node, leave); ok {
			return int(x.node), moves, true
		}
	}
	return 0, nil, false
}

// Move records that a running pod has moved to another node, and returns its new handle. It fails if
// the pod does not fit there.
func (f *Fleet) Move(h Handle, to int) (Handle, bool) {
	was, n := f.pods[h], &f.nodes[to]
	if !n.free.holds(was.size.plus(n.over)) || !holdsExtra(n.extra, was.extra) {
		return h, false
	}
	f.Forget(h)
	return f.adopt(int32(to), was, was.asPod(f.now)), true
}
