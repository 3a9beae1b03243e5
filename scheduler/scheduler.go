// SPDX-License-Identifier: Apache-2.0

// Package scheduler packs pods onto nodes by their exact size. It is a library of pure functions:
// it takes a snapshot of nodes and a batch of pods, and returns placements or reasons. It has no
// I/O, no clock and no randomness, and it imports no other package of this module.
//
// Schedule places one batch on one snapshot. A Fleet is the index that it uses. A caller can keep a
// Fleet between batches, as the server's loop does. Decide takes a batch. Place and Release take
// single pods, and usually cost the same for a thousand nodes as for a hundred thousand.
// docs/scheduling.md explains the rules and what each contributes.
package scheduler

// Snapshot is a cluster at one moment.
type Snapshot struct {
	Nodes   []Node
	Running []Running // pods that are not included in the nodes' Allocated
}

// Running is a pod that is already on a node.
type Running struct {
	Pod     Pod
	NodeID  string
	Leaving bool // is being stopped, and keeps its allocation until it has stopped
}

// Plan is the result for a batch: every pod is either placed or refused.
type Plan struct {
	Placements []Placement
	Refusals   []Refusal
	Evictions  []string // ids of running pods to stop, for those that are refused as Preempting
}

// Placement puts a pod on a node.
type Placement struct{ PodID, NodeID string }

// Schedule places a batch on a snapshot. It changes neither. Equal inputs give equal plans, in
// whatever order the nodes are given. It ignores a running pod on a node that is not in the
// snapshot.
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

// Unplaced is the handle of a pod that was not placed.
const Unplaced = Handle(none)
