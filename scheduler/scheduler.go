// Package scheduler packs pods onto nodes by their exact size. It is a pure library: a snapshot of nodes and a batch of pods go
// in, placements or reasons come out. No I/O, no clock, no randomness, and it imports nothing of ours.
//
// Schedule does one batch on one snapshot. A Fleet is the index behind it, for whoever keeps it between batches: Place and Release
// cost the same for a thousand nodes and for a hundred thousand. docs/scheduling.md explains the rules and what each brings.
package scheduler

import (
	"cmp"
	"slices"
)

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

// PlaceBatch places pods together and returns a handle for each, in the order given; Unplaced where there is no room.
//
// Higher priorities go first, and among equals the larger dominant share: what is hard to place is placed while there is room, and small
// pods fill what is left (first fit decreasing; for vectors, Panigrahy et al., "Heuristics for vector bin packing", 2011, and dominant
// shares after Ghodsi et al., NSDI 2011). The sizes of the whole batch are known before the first is placed.
func (f *Fleet) PlaceBatch(pods []Pod) []Handle {
	order := make([]int32, len(pods))
	for i := range order {
		order[i] = int32(i)
		f.mix.see(pods[i].Size)
	}
	dominant := func(r Resources) float64 {
		return max(float64(r.CPUMillis)/f.mix.cpu, float64(r.MemoryMiB)/f.mix.memory)
	}
	slices.SortStableFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(pods[b].Priority, pods[a].Priority), cmp.Compare(dominant(pods[b].Size), dominant(pods[a].Size)))
	})
	handles := make([]Handle, len(pods))
	for _, i := range order {
		if at := f.choose(&pods[i]); at != none {
			handles[i] = f.book(at, &pods[i])
		} else {
			handles[i] = Unplaced
		}
	}
	return handles
}
