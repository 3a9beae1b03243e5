// Package scheduler packs pods onto nodes by their exact size. It is a pure library: a snapshot of nodes and a batch of pods go
// in, placements or reasons come out. No I/O, no clock, no randomness, and it imports nothing of ours.
//
// Schedule does one batch on one snapshot. A Fleet is the index behind it, for whoever keeps it between batches: Place and Release
// cost the same for a thousand nodes and for a hundred thousand. docs/scheduling.md explains the rules and what each brings.
package scheduler

// Schedule places a batch on a snapshot. Neither is changed. Equal inputs give equal plans, in whatever order the nodes are given.
func Schedule(nodes []Node, pods []Pod) Plan {
	f := NewFleet(nodes, Default())
	handles := f.PlaceBatch(pods)
	var plan Plan
	for i, h := range handles {
		if h != Handle(none) {
			plan.Placements = append(plan.Placements, Placement{pods[i].ID, f.Node(f.NodeOf(h))})
			continue
		}
		plan.Refusals = append(plan.Refusals, f.Explain(&pods[i]))
	}
	return plan
}

// Unplaced is the handle of a pod that found no place.
const Unplaced = Handle(none)
