// Package scheduler packs pods onto nodes by their exact size. It is a pure library: a snapshot of nodes and a batch of pods go
// in, placements or reasons come out. No I/O, no clock, no randomness, and it imports nothing of ours.
//
// Schedule does one batch on one snapshot. A Fleet is the index behind it, for whoever keeps it between batches, as the server's loop does: Decide
// takes a batch, Place and Release single pods, at a cost that is the same for a thousand nodes and for a hundred thousand. docs/scheduling.md
// explains the rules and what each brings.
package scheduler

// Snapshot is a cluster at one moment.
type Snapshot struct {
	Nodes   []Node
	Running []Running // pods that the nodes' Allocated does not have
}

// Running is a pod that is on a node already.
type Running struct {
	Pod     Pod
	NodeID  string
	Leaving bool // is being stopped, and holds its room until it has
}

// Plan is the outcome for a batch: every pod is either placed or refused.
type Plan struct {
	Placements []Placement
	Refusals   []Refusal
	Evictions  []string // ids of running pods to be stopped, for those that are refused as Preempting
}

// Placement puts a pod on a node.
type Placement struct{ PodID, NodeID string }

// Schedule places a batch on a snapshot. Neither is changed. Equal inputs give equal plans, in whatever order the nodes are given.
// A running pod on a node that is not in the snapshot is ignored.
func Schedule(s Snapshot, pods []Pod) Plan {
	f := NewFleet(s.Nodes, Default())
	byName := make(map[string]int, f.Len())
	for i := range f.Len() {
		byName[f.Node(i)] = i
	}
	ids := map[Handle]string{}
	for i := range s.Running {
		r := &s.Running[i]
		if node, known := byName[r.NodeID]; known {
			h := f.Adopt(node, &r.Pod, 0)
			if ids[h] = r.Pod.ID; r.Leaving {
				f.Leaving(h)
			}
		}
	}
	d := f.Decide(pods, Limits{Preemptions: len(pods), Explanations: len(pods)})
	var plan Plan
	for i, h := range d.Handles {
		if h != Unplaced {
			plan.Placements = append(plan.Placements, Placement{pods[i].ID, f.Node(f.NodeOf(h))})
			continue
		}
		plan.Refusals = append(plan.Refusals, *d.Refusals[i])
	}
	for _, e := range d.Evictions {
		plan.Evictions = append(plan.Evictions, ids[e.Victim])
	}
	return plan
}

// Unplaced is the handle of a pod that found no place.
const Unplaced = Handle(none)
