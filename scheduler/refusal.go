// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"fmt"
	"strings"
)

// Reason is why a pod was not placed, for programs.
type Reason string

// The reasons.
const (
	NoNode             Reason = "NoNode"             // no node is ready
	InsufficientCPU    Reason = "InsufficientCPU"    // every node that passes the filters has insufficient cpu
	InsufficientMemory Reason = "InsufficientMemory" // every node that passes the filters has insufficient memory
	// InsufficientExtra: a further resource is insufficient on every node that passes the filters. It has the name of the only one that there is.
	InsufficientExtra Reason = "InsufficientEphemeralStorage"
	Insufficient      Reason = "Insufficient"   // some nodes have insufficient cpu, others insufficient memory or a further resource
	NotSelected       Reason = "NotSelected"    // no ready node matches the node selector
	NotTolerated      Reason = "NotTolerated"   // every ready node that matches has a taint that the pod does not tolerate
	Crowded           Reason = "Crowded"        // scheduling rules about a group exclude the remaining nodes
	GangIncomplete    Reason = "GangIncomplete" // the pod fits, but the rest of its gang does not
	Preempting        Reason = "Preempting"     // pods of lower priority are being stopped for it
)

// Reasons lists every reason.
var Reasons = []Reason{
	NoNode, NotSelected, NotTolerated, Crowded, InsufficientCPU, InsufficientMemory, InsufficientExtra, Insufficient, GangIncomplete, Preempting,
}

// Refusal says why a pod was not placed: how many nodes each filter excluded. A node is counted
// only for the first filter that excludes it. The order is: ready, labels, taints, groups,
// capacity.
type Refusal struct {
	PodID        string
	Reason       Reason
	Nodes        int // in the snapshot
	NotReady     int
	NotSelected  int // do not match the node selector
	Tainted      int // have a taint that the pod does not tolerate
	Crowded      int // excluded by a rule about a group
	LackCPU      int
	LackMem      int         // a node can lack several resources and counts for each
	LackExtra    map[int]int // by further resource
	Nearest      int         // the node that lacks the smallest share of its capacity; -1 if no node's capacity was checked
	NearestFree  Resources   // the free capacity of that node
	NearestLacks Resources   // what that node lacks
	NeverFits    bool        // no ready node with the right labels and taints could hold the pod, even if it were empty
	MakeRoom     MakeRoom
}

// MakeRoom is a set of pods on one node whose removal would let a pod fit. Their share of the node is
// as small as a quick search finds. Nothing checks whether these pods may be moved or evicted.
type MakeRoom struct {
	Node int // -1 if removing pods helps on no node
	Pods []Handle
}

// Message returns the refusal as a sentence.
func (r Refusal) Message() string {
	switch r.Reason { //nolint:exhaustive // the others have counts
	case NoNode:
		return fmt.Sprintf("none of %d nodes is ready", r.Nodes)
	case GangIncomplete:
		return "the pod fits, but not together with the rest of its gang"
	case Preempting:
		return "waiting until evicted pods of lower priority have stopped"
	}
	lackExtra := 0
	for _, n := range r.LackExtra {
		lackExtra = max(lackExtra, n)
	}
	parts := []string{}
	for _, p := range []struct {
		n         int
		one, many string
	}{
		{r.NotReady, "is not ready", "are not ready"},
		{r.NotSelected, "does not match the node selector", "do not match the node selector"},
		{r.Tainted, "has a taint that the pod does not tolerate", "have a taint that the pod does not tolerate"},
		{r.Crowded, "is excluded by a scheduling rule", "are excluded by scheduling rules"},
		{r.LackCPU, "has insufficient cpu", "have insufficient cpu"},
		{r.LackMem, "has insufficient memory", "have insufficient memory"},
		{lackExtra, "has an insufficient further resource", "have an insufficient further resource"},
	} {
		switch {
		case p.n == 1:
			parts = append(parts, "1 "+p.one)
		case p.n > 1:
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.many))
		}
	}
	text := fmt.Sprintf("0 of %d nodes fit: %s", r.Nodes, strings.Join(parts, ", "))
	if r.LackCPU+r.LackMem > 0 {
		text += fmt.Sprintf("; the closest node has %d millis cpu and %d MiB memory free and lacks %d millis and %d MiB",
			r.NearestFree.CPUMillis, r.NearestFree.MemoryMiB, r.NearestLacks.CPUMillis, r.NearestLacks.MemoryMiB)
	}
	if r.NeverFits {
		text += "; the pod would not fit even on an empty node"
	}
	return text
}

// Explain says why a pod does not fit now, and which pods would have to be removed. It looks at
// every node once.
func (f *Fleet) Explain(pod *Pod) Refusal { return f.explain(pod, true) }

func (f *Fleet) explain(pod *Pod, findVictims bool) Refusal {
	r := Refusal{PodID: pod.ID, Nodes: len(f.nodes), Nearest: -1, NeverFits: true, MakeRoom: MakeRoom{Node: -1}}
	s := &f.search
	*s = search{pod: pod, constraints: s.constraints}
	s.constrained = f.constrain(s, pod)
	tally := struct{ ready, asked, large int }{}
	fits, nearest := false, 0.0
	least := noLimit
	for at := range f.nodes {
		i, n := int32(at), &f.nodes[at]
		if !n.ready {
			r.NotReady++
			continue
		}
		tally.ready++
		switch {
		case s.constraints.impossible || s.constrained && !f.selects(s, i):
			r.NotSelected++
			continue
		case s.constrained && !f.labels.tolerated(i, pod.Tolerates):
			r.Tainted++
			continue
		case s.constrained && !f.uncrowded(s, i):
			r.Crowded++
			r.NeverFits = r.NeverFits && !f.cap[i].holds(pod.Size.plus(n.over))
			continue
		}
		tally.asked++
		lacks := f.lacks(i, pod)
		extra := r.countLacks(lacks, n.extra, pod.Extra)
		fits = fits || lacks == Resources{} && extra
		if far := max(share(lacks.CPUMillis, f.cap[i].CPUMillis), share(lacks.MemoryMiB, f.cap[i].MemoryMiB)); r.Nearest < 0 || far < nearest {
			nearest, r.Nearest, r.NearestFree, r.NearestLacks = far, at, n.free, lacks
		}
		if f.cap[i].holds(pod.Size.plus(n.over)) {
			tally.large++
			if !findVictims {
				continue
			}
			if pods, harm, ok := f.vacate(i, pod, false, least, nil); ok && harm < least {
				least, r.MakeRoom = harm, MakeRoom{Node: at, Pods: pods}
			}
		}
	}
	r.NeverFits = r.NeverFits && tally.large == 0 && r.NotSelected+r.Tainted < tally.ready
	r.Reason = r.reason(tally.ready, tally.asked, fits)
	return r
}

// lacks returns the cpu and memory that a node lacks for a pod.
func (f *Fleet) lacks(i int32, pod *Pod) Resources {
	n := &f.nodes[i]
	need := pod.Size.plus(n.over)
	return Resources{max(0, need.CPUMillis-n.free.CPUMillis), max(0, need.MemoryMiB-n.free.MemoryMiB)}
}

// countLacks counts what one node lacks, and reports whether it has enough of every further
// resource.
func (r *Refusal) countLacks(lacks Resources, have, want []int) (extra bool) {
	if lacks.CPUMillis > 0 {
		r.LackCPU++
	}
	if lacks.MemoryMiB > 0 {
		r.LackMem++
	}
	extra = true
	for k, v := range want {
		if v > 0 && (k >= len(have) || have[k] < v) {
			if r.LackExtra == nil {
				r.LackExtra = map[int]int{}
			}
			r.LackExtra[k]++
			extra = false
		}
	}
	return extra
}

func (r *Refusal) reason(ready, asked int, fits bool) Reason {
	switch {
	case ready == 0:
		return NoNode
	case r.NotSelected == ready:
		return NotSelected
	case r.NotSelected+r.Tainted == ready:
		return NotTolerated
	case asked == 0:
		return Crowded
	case fits:
		return GangIncomplete
	case r.LackCPU == asked:
		return InsufficientCPU
	case r.LackMem == asked:
		return InsufficientMemory
	case lacksExtra(r.LackExtra, asked):
		return InsufficientExtra
	default:
		return Insufficient
	}
}

// lacksExtra reports whether one further resource is insufficient on all nodes.
func lacksExtra(lacks map[int]int, nodes int) bool {
	for _, n := range lacks {
		if n == nodes {
			return true
		}
	}
	return false
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
