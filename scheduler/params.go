// SPDX-License-Identifier: Apache-2.0

package scheduler

// Params weigh the rules. Every measurement in docs/scheduling.md was made with Default. Weights
// choose among nodes that fit, so most bad weights cost little. docs/scheduling.md shows the effect
// of a tenth and of ten times each weight.
type Params struct {
	// OpeningCharge is the price of opening an empty node although the pod fits on an open one: the
	// empty node must strand less than the best open one by more than this, in nodes.
	OpeningCharge float64
	// OpeningSlack limits how often a node is opened early: only while the usable free capacity of the
	// open nodes is at most this many times the square root of their number, in addition to
	// alwaysUsable, in nodes. The full amount applies while pods only arrive. The more pods end, the
	// less of it applies, and almost nothing if as many pods end as arrive.
	OpeningSlack float64
	// AgeWeight is the bonus per doubling of the age of a node's oldest pod, in nodes of stranded
	// capacity.
	AgeWeight float64
	// TimeWeight is the price of keeping a node open for the whole lifetime of a pod, in nodes of
	// stranded capacity.
	TimeWeight float64
	// GapWeight is the price of each second between the end of a pod and a later end of its node. The
	// price of each second for which the pod outlasts the node's other pods is 1.
	GapWeight float64
	// Scarcity is how strongly nodes of a size that becomes scarce are spared: the power of the share of
	// these nodes that are still empty. With 0, the nodes that hold most pods are opened first, which
	// opens the fewest nodes. With a large power, all sizes are used up together, so that a large pod
	// that arrives late finds a node.
	Scarcity float64
	// Reserve is a share of all ready nodes. For every size, about so many of the nodes of at least
	// that size stay empty, as long as other nodes fit.
	Reserve float64
	// Looks is how many nodes that fit are compared. LooksWithLifetime is the same for a pod with a
	// known lifetime.
	Looks, LooksWithLifetime int
}

// MovesForPod is how many running pods move at most, by default, so that a pod that waits fits. With
// fewer, pods are refused in some of the cases of docs/scheduling.md.
const MovesForPod = 20

// WithMoves returns the weights for a cluster in which pods move to free capacity for a pod that does
// not fit. Then large nodes need not be spared for large pods that may never come.
func WithMoves() Params {
	p := Default()
	p.Scarcity, p.Reserve = 0.3, 0.014
	return p
}

// Default returns one set of weights for every cluster.
func Default() Params {
	return Params{
		OpeningCharge: 0.02, OpeningSlack: 2, AgeWeight: 0.01, TimeWeight: 0.7, GapWeight: 0.03,
		Scarcity: 8, Reserve: 0.0225, Looks: 14, LooksWithLifetime: 64,
	}
}
