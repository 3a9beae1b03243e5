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
	InsufficientCPU    Reason = "InsufficientCPU"    // every node that may take it lacks cpu
	InsufficientMemory Reason = "InsufficientMemory" // every node that may take it lacks memory
	Insufficient       Reason = "Insufficient"       // some nodes lack the one, some the other, or a further resource
	NotSelected        Reason = "NotSelected"        // no ready node has the labels that the pod asks for
	NotTolerated       Reason = "NotTolerated"       // every ready node with these labels has a taint that the pod does not tolerate
	Crowded            Reason = "Crowded"            // wherever there may be room, a rule about the pod's group forbids it
	GangIncomplete     Reason = "GangIncomplete"     // there is room for this pod, but not for all of its gang
	Preempting         Reason = "Preempting"         // its room is being cleared of pods of lower priority
)

// Reasons lists every reason.
var Reasons = []Reason{
	NoNode, NotSelected, NotTolerated, Crowded, InsufficientCPU, InsufficientMemory, Insufficient, GangIncomplete, Preempting,
}

// Refusal says why a pod was not placed: how many nodes failed on what. A node that fails one filter is not asked for the next: ready,
// labels, taints, group, room.
type Refusal struct {
	PodID       string
	Reason      Reason
	Nodes       int // in the snapshot
	NotReady    int
	NotSelected int // lack a label that the pod asks for
	Tainted     int // have a taint that it does not tolerate
	Crowded     int // a rule about a group forbids them
	LackCPU     int
	LackMem     int         // nodes may lack several and count in each
	LackExtra   map[int]int // by further resource
	Nearest     int         // the node that lacks least, in shares of its capacity; -1 when none was asked for room
	MostRoom    Resources   // what that node has free
	LargerBy    Resources   // what it lacks
	NeverFits   bool        // no node that may take it could hold it even when empty
	MakeRoom    MakeRoom
}

// MakeRoom is the least harm that would let a pod in: the pods of one node that together take the smallest share of it, of those whose
// going would be enough. Whether they may be moved or evicted is not asked.
type MakeRoom struct {
	Node int // -1 when no node would do
	Pods []Handle
}

// Message is the refusal as a sentence for people.
func (r Refusal) Message() string {
	switch r.Reason { //nolint:exhaustive // the others have counts to tell
	case NoNode:
		return fmt.Sprintf("none of %d nodes is ready", r.Nodes)
	case GangIncomplete:
		return "there is room for this pod, but not for all of its gang at once"
	case Preempting:
		return "pods of lower priority are being stopped to make room"
	}
	lackExtra := 0
	for _, n := range r.LackExtra {
		lackExtra = max(lackExtra, n)
	}
	parts := []string{}
	for _, p := range []struct {
		n    int
		what string
	}{
		{r.NotReady, "not ready"},
		{r.NotSelected, "without the labels asked for"},
		{r.Tainted, "with a taint that is not tolerated"},
		{r.Crowded, "ruled out by where pods of a group run"},
		{r.LackCPU, "without enough cpu"},
		{r.LackMem, "without enough memory"},
		{lackExtra, "without enough of another resource"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	text := fmt.Sprintf("0 of %d nodes have room: %s", r.Nodes, strings.Join(parts, ", "))
	if r.LackCPU+r.LackMem > 0 {
		text += fmt.Sprintf("; the nearest has %d millis and %d MiB free and lacks %d millis and %d MiB",
			r.MostRoom.CPUMillis, r.MostRoom.MemoryMiB, r.LargerBy.CPUMillis, r.LargerBy.MemoryMiB)
	}
	if r.NeverFits {
		text += "; no node is large enough even when empty"
	}
	return text
}

// Explain says why a pod has no place now, and what would make room. It looks at every node once.
func (f *Fleet) Explain(pod *Pod) Refusal { return f.explain(pod, true) }

func (f *Fleet) explain(pod *Pod, makeRoom bool) Refusal {
	r := Refusal{PodID: pod.ID, Nodes: len(f.nodes), Nearest: -1, NeverFits: true, MakeRoom: MakeRoom{Node: -1}}
	s := &f.search
	*s = search{pod: pod, constraints: s.constraints}
	s.constrained = f.constrain(s, pod)
	tally := struct{ ready, asked, large int }{}
	roomy, nearest := false, 0.0
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
		roomy = roomy || lacks == Resources{} && extra
		if far := max(share(lacks.CPUMillis, f.cap[i].CPUMillis), share(lacks.MemoryMiB, f.cap[i].MemoryMiB)); r.Nearest < 0 || far < nearest {
			nearest, r.Nearest, r.MostRoom, r.LargerBy = far, at, n.free, lacks
		}
		if f.cap[i].holds(pod.Size.plus(n.over)) {
			tally.large++
			if !makeRoom {
				continue
			}
			if pods, harm, ok := f.vacate(i, pod, false, least); ok && harm < least {
				least, r.MakeRoom = harm, MakeRoom{Node: at, Pods: pods}
			}
		}
	}
	r.NeverFits = r.NeverFits && tally.large == 0 && r.NotSelected+r.Tainted < tally.ready
	r.Reason = r.reason(tally.ready, tally.asked, roomy)
	return r
}

// lacks is what a node has too little of for a pod.
func (f *Fleet) lacks(i int32, pod *Pod) Resources {
	n := &f.nodes[i]
	need := pod.Size.plus(n.over)
	return Resources{max(0, need.CPUMillis-n.free.CPUMillis), max(0, need.MemoryMiB-n.free.MemoryMiB)}
}

// countLacks counts what one node lacks, and tells whether it has enough of every further resource.
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

func (r *Refusal) reason(ready, asked int, roomy bool) Reason {
	switch {
	case ready == 0:
		return NoNode
	case r.NotSelected == ready:
		return NotSelected
	case r.NotSelected+r.Tainted == ready:
		return NotTolerated
	case asked == 0:
		return Crowded
	case roomy:
		return GangIncomplete
	case r.LackCPU == asked:
		return InsufficientCPU
	case r.LackMem == asked:
		return InsufficientMemory
	default:
		return Insufficient
	}
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
