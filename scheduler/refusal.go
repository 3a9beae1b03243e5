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
	InsufficientCPU    Reason = "InsufficientCPU"    // every ready node lacks cpu
	InsufficientMemory Reason = "InsufficientMemory" // every ready node lacks memory
	Insufficient       Reason = "Insufficient"       // some nodes lack the one, some the other, or a further resource
	NotSelected        Reason = "NotSelected"        // no ready node has the labels that the pod asks for
	Separated          Reason = "Separated"          // wherever there is room, the pod's group forbids it
	GangIncomplete     Reason = "GangIncomplete"     // there is room for this pod, but not for all of its gang
)

// Refusal says why a pod was not placed: how many nodes failed on what. A node that fails a rule is not asked for room.
type Refusal struct {
	PodID       string
	Reason      Reason
	Nodes       int // in the snapshot
	NotReady    int
	NotSelected int // lack a label that the pod asks for
	Crowded     int // hold a pod of the group that this one keeps apart from, or would break the spread
	LackCPU     int
	LackMem     int // nodes may lack several and count in each
	LackExtra   int
	MostRoom    Resources // the free amounts of the node that came nearest
	LargerBy    Resources // what that node lacks
	NeverFits   bool      // no ready node could hold it even when empty
}

// Message is the refusal as a sentence for people.
func (r Refusal) Message() string {
	if r.Reason == NoNode {
		return fmt.Sprintf("none of %d nodes is ready", r.Nodes)
	}
	if r.Reason == GangIncomplete {
		return "there is room for this pod, but not for all of its gang at once"
	}
	parts := []string{}
	for _, p := range []struct {
		n    int
		what string
	}{
		{r.NotReady, "not ready"},
		{r.NotSelected, "without the labels asked for"},
		{r.Crowded, "too near to others of the group"},
		{r.LackCPU, "without enough cpu"},
		{r.LackMem, "without enough memory"},
		{r.LackExtra, "without enough of another resource"},
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

// Explain says why a pod has no place now. It looks at every node once.
func (f *Fleet) Explain(pod *Pod) Refusal {
	r := Refusal{PodID: pod.ID, Nodes: len(f.nodes), NeverFits: true}
	s := &search{pod: pod}
	s.rules, s.constrained = f.groups.rulesOf(&f.labels, pod)
	ready, asked, nearest, roomy := 0, 0, 0.0, false
	for i := range f.nodes {
		n := &f.nodes[i]
		if !n.ready {
			r.NotReady++
			continue
		}
		ready++
		if s.rules.impossible || s.constrained && !f.selects(s, int32(i)) {
			r.NotSelected++
			continue
		}
		need := pod.Size.plus(n.over)
		r.NeverFits = r.NeverFits && !f.cap[i].holds(need)
		if s.constrained && (!f.apart(s, int32(i)) || !f.spreads(s, int32(i))) {
			r.Crowded++
			continue
		}
		lacks := Resources{max(0, need.CPUMillis-n.free.CPUMillis), max(0, need.MemoryMiB-n.free.MemoryMiB)}
		if lacks.CPUMillis > 0 {
			r.LackCPU++
		}
		if lacks.MemoryMiB > 0 {
			r.LackMem++
		}
		if !holdsExtra(n.extra, pod.Extra) {
			r.LackExtra++
		}
		roomy = roomy || lacks == Resources{} && holdsExtra(n.extra, pod.Extra)
		far := max(share(lacks.CPUMillis, f.cap[i].CPUMillis), share(lacks.MemoryMiB, f.cap[i].MemoryMiB))
		if asked == 0 || far < nearest {
			nearest, r.MostRoom, r.LargerBy = far, n.free, lacks
		}
		asked++
	}
	r.Reason = r.reason(ready, asked, roomy)
	r.NeverFits = r.NeverFits && r.NotSelected < ready
	return r
}

func (r *Refusal) reason(ready, asked int, roomy bool) Reason {
	switch {
	case ready == 0:
		return NoNode
	case r.NotSelected == ready:
		return NotSelected
	case asked == 0:
		return Separated
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
