// SPDX-License-Identifier: Apache-2.0

package scheduler_test

import (
	"fmt"
	"testing"

	"husk/scheduler"
)

func sized(name string, count, cores, gib int) (nodes []scheduler.Node) {
	for i := range count {
		nodes = append(nodes, scheduler.Node{
			ID: fmt.Sprintf("%s-%03d", name, i), Ready: true, Capacity: scheduler.Resources{CPUMillis: cores * 1000, MemoryMiB: gib * 1024},
		})
	}
	return nodes
}

// Small pods use small and large nodes alike, so that large pods that come later fit.
func TestLargePodsFitAfterManySmallOnes(t *testing.T) {
	t.Parallel()
	placed := func(p scheduler.Params) (large int) {
		f := scheduler.NewFleet(append(sized("large", 20, 16, 64), sized("small", 40, 4, 16)...), p)
		for i := range 240 { // half of the capacity
			if _, ok := f.Place(&scheduler.Pod{Size: scheduler.Resources{CPUMillis: 1000, MemoryMiB: 4096}}); !ok {
				t.Fatalf("the small pod %d does not fit", i)
			}
		}
		for range 20 {
			if _, ok := f.Place(&scheduler.Pod{Size: scheduler.Resources{CPUMillis: 16_000, MemoryMiB: 65_536}}); ok {
				large++
			}
		}
		return large
	}
	if got := placed(scheduler.Default()); got < 9 {
		t.Errorf("%d large pods fit after half of each size was used", got)
	}
	p := scheduler.Default()
	p.Scarcity = 0
	if got := placed(p); got > 6 {
		t.Errorf("%d large pods fit although large nodes are not spared", got)
	}
}

// A batch is packed node by node if that opens the fewest nodes: here, a pod with much memory and
// 56 pods with little fill a node.
func TestABatchIsPackedInBalance(t *testing.T) {
	t.Parallel()
	const full = 30
	var pods []scheduler.Pod
	for range full * 56 {
		pods = append(pods, scheduler.Pod{Size: scheduler.Resources{CPUMillis: 1000, MemoryMiB: 1792}})
	}
	for range full {
		pods = append(pods, scheduler.Pod{Size: scheduler.Resources{CPUMillis: 8000, MemoryMiB: 57_344}})
	}
	f := scheduler.NewFleet(sized("node", 100, 64, 160), scheduler.Default())
	for i, h := range f.PlaceBatch(pods) {
		if h == scheduler.Unplaced {
			t.Fatalf("the pod %d does not fit", i)
		}
	}
	if f.Open() != full {
		t.Errorf("%d nodes are open, %d are enough", f.Open(), full)
	}
}
