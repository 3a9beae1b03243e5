// SPDX-License-Identifier: Apache-2.0

package scheduler

import "math/bits"

// side is the number of levels of free cpu and of free memory: as many as a word has bits.
const side = 64

// grid finds open nodes by their free capacity. It has a cell for every pair of a level of free cpu
// and a level of free memory. There are four levels per doubling, so levels are narrow where little
// capacity is free and a tight fit matters. A bitmap per row and one per column say which cells
// contain nodes. The nodes of a cell are a doubly linked list through the records. So a change
// writes a few words, and a search skips cells that are empty or too small without looking at a
// node. This is the segregated fit of TLSF, in two dimensions.
type grid struct {
	head                 [side * side]int32 // first node of the cell, or none
	rows, cols           [side]uint64       // rows[cpu] has a bit per memory level, cols[memory] has one per cpu level
	cpuShift, memorySize uint               // how far amounts are shifted right, so that no node is above the last level
}

const none = int32(-1)

// newGrid makes an empty grid for nodes of up to the given capacity. Larger amounts share the last
// level.
func newGrid(largest Resources) grid {
	shift := func(v int) uint { return uint(max(0, bits.Len(uint(max(0, v)))-17)) }
	g := grid{cpuShift: shift(largest.CPUMillis), memorySize: shift(largest.MemoryMiB)}
	for i := range g.head {
		g.head[i] = none
	}
	return g
}

// level is monotone: a larger amount is on the same level or on a higher one.
func level(v int, shift uint) int {
	if v <= 0 {
		return 0
	}
	u := uint(v) >> shift
	if u < 4 {
		return int(u)
	}
	e := uint(bits.Len(u)) - 1
	return min(side-1, int(4*(e-1)+(u>>(e-2))&3))
}

func (g *grid) place(r Resources) (cpu, memory int) {
	return level(r.CPUMillis, g.cpuShift), level(r.MemoryMiB, g.memorySize)
}

func (g *grid) cell(r Resources) int32 {
	cpu, memory := g.place(r)
	return int32(cpu*side + memory)
}

// insert puts node i in the cell of its free capacity.
func (g *grid) insert(nodes []record, i int32) {
	n := &nodes[i]
	n.cell = g.cell(n.free)
	n.prev, n.next = none, g.head[n.cell]
	if n.next != none {
		nodes[n.next].prev = i
	}
	g.head[n.cell] = i
	g.rows[n.cell/side] |= 1 << (n.cell % side)
	g.cols[n.cell%side] |= 1 << (n.cell / side)
}

// remove takes node i out of its cell.
func (g *grid) remove(nodes []record, i int32) {
	n := &nodes[i]
	if n.next != none {
		nodes[n.next].prev = n.prev
	}
	if n.prev != none {
		nodes[n.prev].next = n.next
	} else {
		g.head[n.cell] = n.next
	}
	if g.head[n.cell] == none {
		g.rows[n.cell/side] &^= 1 << (n.cell % side)
		g.cols[n.cell%side] &^= 1 << (n.cell / side)
	}
	n.cell = none
}
