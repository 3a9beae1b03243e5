// SPDX-License-Identifier: Apache-2.0

package scheduler_test

import (
	"slices"
	"testing"

	"husk/scheduler"
)

// A large node is full of small pods, and small nodes are empty. If the small pods move,
// a large one fits.
func TestMovesMakeRoomForALargePod(t *testing.T) {
	t.Parallel()
	f := scheduler.NewFleet(append(sized("large", 1, 16, 64), sized("small", 4, 4, 16)...), scheduler.Default())
	var small []scheduler.Handle
	for i := range 4 {
		h, ok := f.PlaceOn(0, &scheduler.Pod{Size: scheduler.Resources{CPUMillis: 4000, MemoryMiB: 16_384}})
		if !ok {
			t.Fatalf("the small pod %d does not fit", i)
		}
		small = append(small, h)
	}
	large := &scheduler.Pod{Size: scheduler.Resources{CPUMillis: 10_000, MemoryMiB: 16_384}}
	if _, ok := f.Place(large); ok {
		t.Fatal("the large pod fits although its node is full")
	}
	if _, moves, ok := f.MakeRoom(large, 2, nil); ok {
		t.Fatalf("%d moves are enough, expected 3", len(moves))
	}
	if at := f.NodeOf(small[3]); at != 0 {
		t.Errorf("planning moved a pod to node %d", at)
	}
	for _, stays := range small { // the other three move
		if _, moves, ok := f.MakeRoom(large, 3, func(h scheduler.Handle) bool { return h != stays }); !ok || len(moves) != 3 {
			t.Errorf("one pod that may not move blocks its node: moves %v, %v", moves, ok)
		} else if slices.ContainsFunc(moves, func(m scheduler.Move) bool { return m.Pod == stays }) {
			t.Errorf("pod %d moves although it may not: %v", stays, moves)
		}
	}
	if _, _, ok := f.MakeRoom(large, 3, func(h scheduler.Handle) bool { return h != small[0] && h != small[3] }); ok {
		t.Error("a large pod fits although only two of the small pods may move")
	}
	node, moves, ok := f.MakeRoom(large, 3, func(scheduler.Handle) bool { return true })
	if !ok || node != 0 || len(moves) != 3 {
		t.Fatalf("moves %v from node %d, %v", moves, node, ok)
	}
	for _, m := range moves {
		if _, ok := f.Move(m.Pod, m.To); !ok {
			t.Fatalf("%v does not fit on node %d", m.Size, m.To)
		}
	}
	if _, ok := f.PlaceOn(node, large); !ok {
		t.Error("the large pod does not fit after the moves")
	}
}
