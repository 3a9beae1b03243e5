// SPDX-License-Identifier: Apache-2.0

package scheduler_test

import (
	"math"
	"testing"

	"husk/scheduler"
)

// twoEnds creates a fleet with two open nodes that have the same free capacity. All earlier hints
// were wrong by the same factor (1 means that they were correct). The pod on the first node ends in
// 100 s, and the pod on the second node in 200 s. The function returns the node on which a pod with
// a hint of 100 s is placed.
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
			t.Fatal("the pod does not fit in an empty fleet")
		}
		now += 10 * factor
		f.At(now)
		f.Release(h)
	}
	for i, ends := range []float64{100, 200} {
		if _, ok := f.PlaceOn(i, &scheduler.Pod{Size: half, Lifetime: ends / factor}); !ok {
			t.Fatal("the pod does not fit on an empty node")
		}
	}
	h, ok := f.Place(&scheduler.Pod{Size: half, Lifetime: 100})
	if !ok {
		t.Fatal("half of a node is free, and the pod does not fit")
	}
	return f.Node(f.NodeOf(h))
}

func TestPodsThatEndTogetherShareANode(t *testing.T) {
	t.Parallel()
	if got := twoEnds(t, 1); got != "a" {
		t.Errorf("a pod of 100 s is placed on %s, not on the node that ends in 100 s", got)
	}
}

func TestHintsThatAreAlwaysTooShortAreCorrected(t *testing.T) {
	t.Parallel()
	if got := twoEnds(t, 2); got != "b" {
		t.Errorf("pods run twice as long as their hints, but one of 100 s is placed on %s, not on the node that ends in 200 s", got)
	}
}

// Even if opening a node costs nothing, the scheduler opens a node early only while the open nodes
// have little usable free capacity. It does not open a node for every pod.
func TestAZeroChargeOpensNoMoreThanTheSlack(t *testing.T) {
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
			t.Fatalf("pod %d does not fit", i)
		}
		if free := float64(f.Open()) - float64(i+1)/16; free > 3*math.Sqrt(float64(f.Open()))+3 { // the slack, the two nodes that are always allowed, and the last opened node
			t.Fatalf("%d nodes are open for %d pods, 16 to a node", f.Open(), i+1)
		}
	}
}
