package scheduler

// Params weigh the rules. Default is what every figure in docs/scheduling.md was measured with. Weights
// choose among nodes that have room, so a bad one costs little; docs/scheduling.md has what a tenth and tenfold of each does.
type Params struct {
	// OpeningCharge is by how much an empty node must strand less than the best open one, in nodes, before it is opened although the
	// pod would fit elsewhere.
	OpeningCharge float64
	// OpeningSlack bounds that: how many nodes of room that the usual pods can use there may be in the open ones when pods only arrive;
	// less as more of them go, and next to nothing when as many go as come.
	OpeningSlack float64
	// AgeWeight prefers nodes whose oldest pod is old, per doubling of that age, in nodes of stranded room.
	AgeWeight float64
	// TimeWeight is what a node that is kept open for the whole life of a pod costs, in nodes of stranded room.
	TimeWeight float64
	// GapWeight is the price of a pod that ends before its node does, beside that of one that ends later, which is 1.
	GapWeight float64
	// Reserve is the share of the cluster that is kept empty, as long as other nodes will do, among the nodes as large as any given one.
	Reserve float64
	// Looks is how many nodes with room are compared, and LooksWithLifetime when the pod's lifetime is known.
	Looks, LooksWithLifetime int
}

// Default is one set of weights for every cluster.
func Default() Params {
	return Params{
		OpeningCharge: 0.01, OpeningSlack: 4, AgeWeight: 0.01, TimeWeight: 0.5, GapWeight: 0.03,
		Reserve: 0.05, Looks: 20, LooksWithLifetime: 64,
	}
}
