package scheduler

// lifetimePrice is what a pod of a known lifetime costs on a node whose pods' ends are known, in node-lifetimes of the pod: the time by
// which it keeps the node from draining, and, much cheaper, the time for which it leaves a hole before the node's last pod goes. So pods
// that go together stay together: short ones fill the gaps of nodes that must stay, and no long one moves into a node that is about to
// drain. After Barbalho et al., "Virtual machine allocation with lifetime predictions" (MLSys 2023), where the same is done in classes.
//
// A node that has outlived its hints is taken to end now: hints that are too short make it cheap to join, not cheap to extend.
func (f *Fleet) lifetimePrice(n *record, lifetime float64) float64 {
	ends, nodeEnds := f.now+lifetime, max(n.end, f.now)
	return (max(0, ends-nodeEnds) + f.params.GapWeight*max(0, nodeEnds-ends)) / lifetime
}

// expected is how long a pod with a hint is expected to run: what was said, times the factor by which such pods have lately been wrong.
func (f *Fleet) expected(pod *Pod) float64 { return pod.Lifetime * f.outlived }

// learnLifetime compares the life of a pod that goes with what was said of it. One wild hint counts for no more than wildest.
func (f *Fleet) learnLifetime(p running) {
	const wildest = 16.0
	f.outlived += (min(wildest, (f.now-p.since)/p.hint) - f.outlived) / memory
	f.outlived = max(f.outlived, 1/wildest)
}

// openingPrice is what an empty node costs, to be compared with the best open one. A pod of known lifetime keeps it open for all of that,
// and it is opened early only for a good deal less than that: a pod that joins a node whose last pod goes now keeps that one open as long.
func (f *Fleet) openingPrice(s *search, empty int32) float64 {
	score, _ := f.judge(s, &f.nodes[empty])
	if s.pod.Lifetime > 0 {
		return score + f.params.TimeWeight*f.params.OpenPrice
	}
	return score + f.params.OpeningCharge
}
