package scheduler

// openPrice is what an empty node costs a pod of known lifetime, in lifetimes of the pod. It would be 1 if the pod ran there alone to its
// end; it is more, so that a node whose last pod should have gone by now is joined before another is opened.
const openPrice = 1.5

// lifetimePrice is what a pod of a known lifetime costs on a node whose pods' ends are known, in node-lifetimes of the pod: the time by
// which it keeps the node from draining, and, much cheaper, the time for which it leaves a hole before the node's last pod goes. So pods
// that go together stay together: short ones fill the gaps of nodes that must stay, and no long one moves into a node that is about to
// drain. After Barbalho et al., "Virtual machine allocation with lifetime predictions" (MLSys 2023), where the same is done in classes.
//
// A node that has outlived its hints is taken to end now: hints that are too short make it cheap to join, not cheap to extend. To expect
// more of such pods, as their history would, measured worse: the nodes that drain next are then joined again.
func (f *Fleet) lifetimePrice(n *record, hint float64) float64 {
	lifetime := hint * f.hints.factor
	ends, nodeEnds := f.now+lifetime, max(n.end, f.now)
	longer := max(0, ends-nodeEnds)
	if longer > 0 {
		// What is no longer than hints are off by counts for less.
		const believed = 0.3
		longer *= longer / (longer + believed*f.hints.spread*lifetime)
	}
	return (longer + f.params.GapWeight*max(0, nodeEnds-ends)) / lifetime
}

// hints is what lifetimes that were said have lately been worth, a mean over about as many pods as memory says. Hints that have been right
// are taken as they are; without this, those that are wrong by a factor of two cost 0.2 % more nodes.
type hints struct {
	factor float64 // how long pods ran, by how long they were said to
	spread float64 // the mean of how far that is from 1, up to 1
}

// learn compares the life of a pod that goes with what was said of it. A wild hint counts for no more than wildest.
func (h *hints) learn(life, hint float64) {
	const wildest = 16.0
	ratio := min(wildest, life/hint)
	h.factor = max(1/wildest, h.factor+(ratio-h.factor)/memory)
	h.spread += (min(1, max(ratio-1, 1-ratio)) - h.spread) / memory
}

// openingPrice is what an empty node costs, to be compared with the best open one. A pod of known lifetime keeps it open for all of that.
func (f *Fleet) openingPrice(s *search, empty int32) float64 {
	score, _ := f.judge(s, &f.nodes[empty])
	if s.pod.Lifetime > 0 {
		return score + f.params.TimeWeight*openPrice
	}
	return score + f.params.OpeningCharge
}
