package scheduler

// lifetimePrice is what a pod of a known lifetime costs on a node whose pods' ends are known, in node-lifetimes of the pod: the time by
// which it keeps the node from draining, and, much cheaper, the time for which it leaves a hole before the node's last pod goes. So pods
// that go together stay together: short ones fill the gaps of nodes that must stay, and no long one moves into a node that is about to
// drain. After Barbalho et al., "Virtual machine allocation with lifetime predictions" (MLSys 2023), where the same is done in classes.
//
// A node that has outlived its hints is taken to end now: hints that are too short make it cheap to join, not cheap to extend.
func (f *Fleet) lifetimePrice(n *record, lifetime float64) (price float64, known bool) {
	if n.end == 0 {
		return 0, false
	}
	ends, nodeEnds := f.now+lifetime, max(n.end, f.now)
	return (max(0, ends-nodeEnds) + f.params.GapWeight*max(0, nodeEnds-ends)) / lifetime, true
}

// openingPrice is what an empty node costs, to be compared with the best open one. A pod of known lifetime keeps it open for all of that.
func (f *Fleet) openingPrice(s *search, empty int32) float64 {
	if s.pod.Lifetime > 0 {
		return 1
	}
	score, _ := f.judge(s, &f.nodes[empty])
	return score + f.params.OpeningCharge
}
