// SPDX-License-Identifier: Apache-2.0

package simulate_test

import (
	"slices"
	"testing"

	"husk/scheduler"
	"husk/simulate"
)

// The bound of the linear program is above the sums if pods do not fill nodes, or if sizes and shapes
// do not match. It is never above what a packing uses.
func TestTheProgramsBoundIsStronger(t *testing.T) {
	t.Parallel()
	several := func(count, cores, gib int) []simulate.Pod {
		return slices.Repeat([]simulate.Pod{{Size: scheduler.Resources{CPUMillis: cores * 1000, MemoryMiB: gib * 1024}}}, count)
	}
	shape := func(count, cores, gib int) []simulate.Node {
		return slices.Repeat([]simulate.Node{{Capacity: scheduler.Resources{CPUMillis: cores * 1000, MemoryMiB: gib * 1024}}}, count)
	}
	for _, c := range []struct {
		name          string
		nodes         []simulate.Node
		pods          []simulate.Pod
		sums, program float64
	}{
		{"two of three pods fill a node", shape(20, 10, 10), slices.Concat(several(8, 5, 3), several(4, 3, 3)), 6, 6},
		{"two pods with much memory leave cpu", shape(20, 16, 16), slices.Concat(several(8, 2, 7), several(8, 7, 2)), 5, 6},
		{"pods with much memory fit other nodes than pods with much cpu", slices.Concat(shape(20, 8, 2), shape(20, 2, 8)), slices.Concat(several(10, 4, 1), several(10, 1, 4)), 7, 10},
	} {
		r, err := simulate.Run(c.nodes, simulate.Trace{Pods: c.pods}, simulate.Options{Policy: "husk", Params: scheduler.Default(), Program: true})
		if err != nil {
			t.Fatal(err)
		}
		if r.LowerBound != c.sums || r.LowerBoundProgram != c.program || float64(r.NodesUsed) < c.program {
			t.Errorf("%s: bound %.0f by sums, %.0f by the program, %d nodes used", c.name, r.LowerBound, r.LowerBoundProgram, r.NodesUsed)
		}
	}
}
