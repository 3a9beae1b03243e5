package scheduler_test

import (
	"testing"

	"husk/scheduler"
)

// twoEnds is a fleet in which hints have been right, or wrong by a factor for long, and two open nodes of the same room: what runs on the
// first is to end in 100 s, on the second in 200 s. It returns the node that a pod of 100 s by its hint goes to.
func twoEnds(t *testing.T, factor float64) string {
	t.Helper()
	half := scheduler.Resources{CPUMillis: 500, MemoryMiB: 500}
	node := func(id string) scheduler.Node {
		return scheduler.Node{ID: id, Ready: true, Capacity: scheduler.Resources{CPUMillis: 1000, MemoryMiB: 1000}}
	}
	f := scheduler.NewFleet([]scheduler.Node{node("a"), node("b"), node("c")}, scheduler.Default())
	now := 0.0
	for range 5000 {
		h, ok := f.Place(&scheduler.Pod{Size: half, Lifetime: 10})
		if !ok {
			t.Fatal("an empty fleet has no place")
		}
		now += 10 * factor
		f.At(now)
		f.Release(h)
	}
	for i, ends := range []float64{100, 200} {
		if _, ok := f.PlaceOn(i, &scheduler.Pod{Size: half, Lifetime: ends / factor}); !ok {
			t.Fatal("an empty node has no place")
		}
	}
	h, ok := f.Place(&scheduler.Pod{Size: half, Lifetime: 100})
	if !ok {
		t.Fatal("half of a node is free")
	}
	return f.Node(f.NodeOf(h))
}

func TestPodsThatGoTogetherShareANode(t *testing.T) {
	t.Parallel()
	if got := twoEnds(t, 1); got != "a" {
		t.Errorf("a pod of 100 s goes to %s, not to the node that ends in 100 s", got)
	}
}

func TestHintsThatAreAlwaysTooShortAreCorrected(t *testing.T) {
	t.Parallel()
	if got := twoEnds(t, 2); got != "b" {
		t.Errorf("pods run twice as long as is said, and one of 100 s goes to %s, not to the node that ends in 200 s", got)
	}
}

// A pod that may be placed early in an empty node is, as long as what is open has little room that others can use; never node by node.
func TestAChargeOfNothingOpensNoMoreThanTheSlack(t *testing.T) {
	t.Parallel()
	nodes := make([]scheduler.Node, 100)
	for i := range nodes {
		nodes[i] = scheduler.Node{ID: string(rune('a'+i/26)) + string(rune('a'+i%26)), Ready: true, Capacity: scheduler.Resources{CPUMillis: 16_000, MemoryMiB: 16_384}}
	}
	p := scheduler.Default()
	p.OpeningCharge, p.OpeningSlack = -1, 3
	f := scheduler.NewFleet(nodes, p)
	for i := range 400 {
		size := scheduler.Resources{CPUMillis: 1000, MemoryMiB: 1024}
		if _, ok := f.Place(&scheduler.Pod{Size: size}); !ok {
			t.Fatalf("pod %d has no place", i)
		}
		if room := float64(f.Open()) - float64(i+1)/16; room > 3+3 { // the slack, two nodes that are always allowed, and the one that was just opened
			t.Fatalf("%d nodes are open for %d pods, 16 to a node", f.Open(), i+1)
		}
	}
}
