// SPDX-License-Identifier: Apache-2.0

package scheduler

// Params weigh the rules. Every measurement in docs/scheduling.md was made with Default. Weights
// choose among nodes that fit, so a bad weight costs little. docs/scheduling.md shows the effect of
// a tenth and of ten times each weight.
type Params struct {
	// OpeningCharge is by how much an empty node must strand less than the best open one, in nodes,
	// before it is opened although the pod fits on an open one.
	OpeningCharge float64
	// OpeningSlack limits opening a node early. It is how many nodes' worth of usable free capacity
	// the open nodes may have in addition to alwaysUsable, while pods only arrive. The more pods end,
	// the lower the limit is. It is almost zero if as many pods end as arrive.
	OpeningSlack float64
	// AgeWeight is the bonus per doubling of the age of a node's oldest pod, in nodes of stranded
	// capacity.
	AgeWeight float64
	// TimeWeight is the price of keeping a node open for the whole lifetime of a pod, in nodes of
	// stranded capacity.
	TimeWeight float64
	// GapWeight is the price of a pod that ends before its node does, relative to the price of one
	// that ends later, which is 1.
	GapWeight float64
	// Reserve determines how many nodes of at least a given size stay empty as long as other nodes
	// fit, as a share of all ready nodes.
	Reserve float64
	// Looks is how many nodes that fit are compared. LooksWithLifetime is the same for a pod with a
	// known lifetime.
	Looks, LooksWithLifetime int
}

// Default returns one set of weights for every cluster.
func Default() Params {
	return Params{
		OpeningCharge: 0.01, OpeningSlack: 4, AgeWeight: 0.01, TimeWeight: 0.5, GapWeight: 0.03,
		Reserve: 0.05, Looks: 14, LooksWithLifetime: 64,
	}
}
