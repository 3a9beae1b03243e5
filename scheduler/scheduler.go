// Package scheduler packs pods onto nodes by their exact size. It is a pure library: a snapshot of nodes and a batch of pods go
// in, placements or reasons come out. No I/O, no clock, no randomness, and it imports nothing of ours.
package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Resources is an amount of what a node can run out of.
type Resources struct {
	CPUMillis int // 1000 is one core
	MemoryMiB int
}

func (r Resources) plus(o Resources) Resources {
	return Resources{r.CPUMillis + o.CPUMillis, r.MemoryMiB + o.MemoryMiB}
}

func (r Resources) minus(o Resources) Resources {
	return Resources{r.CPUMillis - o.CPUMillis, r.MemoryMiB - o.MemoryMiB}
}

func (r Resources) holds(o Resources) bool {
	return r.CPUMillis >= o.CPUMillis && r.MemoryMiB >= o.MemoryMiB
}

// Node is one machine in a snapshot.
type Node struct {
	ID        string
	Ready     bool
	Capacity  Resources
	Allocated Resources
	Overhead  Resources // what every pod costs on this node beside its own size
}

// Pod is one pod of a batch.
type Pod struct {
	ID   string
	Size Resources
}

// Placement puts a pod on a node.
type Placement struct{ PodID, NodeID string }

// Reason is why a pod was not placed, for programs.
type Reason string

// The reasons.
const (
	NoNode             Reason = "NoNode"             // no node is ready
	InsufficientCPU    Reason = "InsufficientCPU"    // every ready node lacks cpu
	InsufficientMemory Reason = "InsufficientMemory" // every ready node lacks memory
	Insufficient       Reason = "Insufficient"       // some nodes lack the one, some the other
)

// Refusal says why a pod was not placed: how many nodes failed on what.
type Refusal struct {
	PodID     string
	Reason    Reason
	Nodes     int // in the snapshot
	NotReady  int
	LackCPU   int
	LackMem   int       // nodes may lack both and count in both
	MostRoom  Resources // the free amounts of the node that came nearest
	LargerBy  Resources // what that node lacks
	NeverFits bool      // no ready node could hold it even when empty
}

// Message is the refusal as a sentence for people.
func (r Refusal) Message() string {
	if r.Reason == NoNode {
		return fmt.Sprintf("none of %d nodes is ready", r.Nodes)
	}
	parts := []string{}
	for _, p := range []struct {
		n    int
		what string
	}{{r.NotReady, "not ready"}, {r.LackCPU, "without enough cpu"}, {r.LackMem, "without enough memory"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	text := fmt.Sprintf("0 of %d nodes have room: %s; the nearest has %d millis and %d MiB free and lacks %d millis and %d MiB",
		r.Nodes, strings.Join(parts, ", "), r.MostRoom.CPUMillis, r.MostRoom.MemoryMiB, r.LargerBy.CPUMillis, r.LargerBy.MemoryMiB)
	if r.NeverFits {
		text += "; no node is large enough even when empty"
	}
	return text
}

// Plan is the outcome for a batch: every pod is in exactly one of the two.
type Plan struct {
	Placements []Placement
	Refusals   []Refusal
}

// Schedule places a batch on a snapshot. Neither is changed. Pods are taken in the given order, each on the ready node that is left
// with the least room (best fit), measured by the larger of the two remaining shares; ties go to the smaller node id, so that equal
// inputs give equal plans.
func Schedule(nodes []Node, pods []Pod) Plan {
	free := make([]Resources, len(nodes))
	for i, n := range nodes {
		free[i] = n.Capacity.minus(n.Allocated)
	}
	var plan Plan
	for _, pod := range pods {
		best := -1
		for i, n := range nodes {
			if n.Ready && free[i].holds(pod.Size.plus(n.Overhead)) && (best < 0 || tighter(nodes, free, pod, i, best)) {
				best = i
			}
		}
		if best < 0 {
			plan.Refusals = append(plan.Refusals, explain(nodes, free, pod))
			continue
		}
		free[best] = free[best].minus(pod.Size.plus(nodes[best].Overhead))
		plan.Placements = append(plan.Placements, Placement{pod.ID, nodes[best].ID})
	}
	return plan
}

func tighter(nodes []Node, free []Resources, pod Pod, a, b int) bool {
	left := func(i int) float64 {
		rest := free[i].minus(pod.Size.plus(nodes[i].Overhead))
		return max(share(rest.CPUMillis, nodes[i].Capacity.CPUMillis), share(rest.MemoryMiB, nodes[i].Capacity.MemoryMiB))
	}
	return cmp.Or(cmp.Compare(left(a), left(b)), cmp.Compare(nodes[a].ID, nodes[b].ID)) < 0
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func explain(nodes []Node, free []Resources, pod Pod) Refusal {
	r := Refusal{PodID: pod.ID, Nodes: len(nodes), NeverFits: true}
	type miss struct {
		room, lacks Resources
		size        float64
	}
	var misses []miss
	for i, n := range nodes {
		if !n.Ready {
			r.NotReady++
			continue
		}
		need := pod.Size.plus(n.Overhead)
		lacks := Resources{max(0, need.CPUMillis-free[i].CPUMillis), max(0, need.MemoryMiB-free[i].MemoryMiB)}
		if lacks.CPUMillis > 0 {
			r.LackCPU++
		}
		if lacks.MemoryMiB > 0 {
			r.LackMem++
		}
		r.NeverFits = r.NeverFits && !n.Capacity.holds(need)
		misses = append(misses, miss{free[i], lacks, max(share(lacks.CPUMillis, n.Capacity.CPUMillis), share(lacks.MemoryMiB, n.Capacity.MemoryMiB))})
	}
	ready := len(misses)
	switch {
	case ready == 0:
		r.Reason, r.NeverFits = NoNode, false
		return r
	case r.LackCPU == ready:
		r.Reason = InsufficientCPU
	case r.LackMem == ready:
		r.Reason = InsufficientMemory
	default:
		r.Reason = Insufficient
	}
	nearest := slices.MinFunc(misses, func(a, b miss) int { return cmp.Compare(a.size, b.size) })
	r.MostRoom, r.LargerBy = nearest.room, nearest.lacks
	return r
}
