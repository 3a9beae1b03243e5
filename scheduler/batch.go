package scheduler

import (
	"cmp"
	"slices"
)

// PlaceBatch places pods together and returns a handle for each, in the order given; Unplaced where there is no room. The sizes of the
// whole batch are known before the first is placed.
//
// Higher priorities go first. Within a priority two orders are tried, and the one that leaves fewer pods out, opens fewer nodes, and then
// strands less is kept: the larger dominant share first, so that what is hard to place is placed while there is room and small pods fill what is
// left (first fit decreasing; for vectors Panigrahy et al., "Heuristics for vector bin packing", 2011; dominant shares after Ghodsi et
// al., NSDI 2011); and as they came, since a large batch in order of size is one of all the memory and then all the cpu, which mixes badly.
func (f *Fleet) PlaceBatch(pods []Pod) []Handle {
	given := make([]int32, len(pods))
	for i := range given {
		given[i] = int32(i)
		f.mix.see(pods[i].Size)
	}
	dominant := func(r Resources) float64 {
		return max(float64(r.CPUMillis)/f.mix.cpu, float64(r.MemoryMiB)/f.mix.memory)
	}
	byPriority := func(a, b int32) int { return cmp.Compare(pods[b].Priority, pods[a].Priority) }
	slices.SortStableFunc(given, byPriority)
	bySize := slices.Clone(given)
	slices.SortStableFunc(bySize, func(a, b int32) int {
		return cmp.Or(byPriority(a, b), cmp.Compare(dominant(pods[b].Size), dominant(pods[a].Size)))
	})
	handles := make([]Handle, len(pods))
	for {
		f.better(pods, given, bySize, handles)
		broken := brokenGangs(pods, handles)
		if len(broken) == 0 {
			return handles
		}
		// A gang that found no place for all of its pods leaves the batch, and the others are placed anew with the room it had.
		f.undo(bySize, handles)
		leaves := func(i int32) bool { return broken[pods[i].Gang] }
		given, bySize = slices.DeleteFunc(given, leaves), slices.DeleteFunc(bySize, leaves)
		for i := range handles {
			handles[i] = Unplaced
		}
	}
}

// brokenGangs are those with a pod placed and another not.
func brokenGangs(pods []Pod, handles []Handle) map[string]bool {
	broken, some := map[string]bool{}, map[string]bool{}
	for i, h := range handles {
		if g := pods[i].Gang; g != "" && h != Unplaced {
			some[g] = true
		}
	}
	for i, h := range handles {
		if g := pods[i].Gang; h == Unplaced && some[g] {
			broken[g] = true
		}
	}
	return broken
}

// better places the pods in the better of two orders.
func (f *Fleet) better(pods []Pod, given, bySize []int32, handles []Handle) {
	first := f.attempt(pods, bySize, handles)
	if slices.Equal(given, bySize) {
		return
	}
	f.undo(bySize, handles)
	if second := f.attempt(pods, given, handles); first.compare(second) <= 0 {
		f.undo(given, handles)
		f.attempt(pods, bySize, handles)
	}
}

// outcome is what an order came to; less is better, the first before the last.
type outcome struct {
	unplaced, open int
	stranded       float64
}

func (o outcome) compare(p outcome) int {
	return cmp.Or(cmp.Compare(o.unplaced, p.unplaced), cmp.Compare(o.open, p.open), cmp.Compare(o.stranded, p.stranded))
}

// attempt places the pods in an order.
func (f *Fleet) attempt(pods []Pod, order []int32, handles []Handle) (o outcome) {
	for _, i := range order {
		at := f.choose(&pods[i])
		if at == none {
			handles[i] = Unplaced
			o.unplaced++
			continue
		}
		o.stranded -= f.mix.stranded(f.nodes[at].free, noLimit)
		handles[i] = f.book(at, &pods[i])
		o.stranded += f.mix.stranded(f.nodes[at].free, noLimit)
	}
	o.open = f.open.nodes
	return o
}

// undo takes an attempt back, the last pod first, so that the next one finds everything as it was.
func (f *Fleet) undo(order []int32, handles []Handle) {
	departing := f.departing
	for _, i := range slices.Backward(order) {
		if handles[i] != Unplaced {
			f.Release(handles[i])
		}
	}
	f.departing = departing
}
