// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"errors"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize/convex/lp"

	"husk/scheduler"
)

// demand is a size of pods, and how many there are.
type demand struct {
	size  scheduler.Resources
	count int
}

// supply is a shape of nodes, and how many there are.
type supply struct {
	capacity scheduler.Resources
	count    int
}

func demands(sizes []scheduler.Resources) (all []demand) {
	at := map[scheduler.Resources]int{}
	for _, s := range sizes {
		if s == (scheduler.Resources{}) {
			continue
		}
		if _, known := at[s]; !known {
			at[s] = len(all)
			all = append(all, demand{size: s})
		}
		all[at[s]].count++
	}
	return all
}

func supplies(nodes []Node) (all []supply) {
	at := map[scheduler.Resources]int{}
	for _, n := range nodes {
		if _, known := at[n.Capacity]; !known {
			at[n.Capacity] = len(all)
			all = append(all, supply{capacity: n.Capacity})
		}
		all[at[n.Capacity]].count++
	}
	return all
}

func fits(size, capacity scheduler.Resources) bool {
	return size.CPUMillis <= capacity.CPUMillis && size.MemoryMiB <= capacity.MemoryMiB
}

// byProgram is the value of the program over patterns for equal nodes, and of the program over
// shapes for others.
func byProgram(nodes []Node, sizes []scheduler.Resources) int {
	shapes, all := supplies(nodes), demands(sizes)
	if len(all) == 0 {
		return 0
	}
	slices.SortFunc(all, func(a, b demand) int { return b.size.CPUMillis - a.size.CPUMillis })
	if len(shapes) == 1 {
		return byPatterns(shapes[0], all)
	}
	return byShapes(shapes, all)
}

// Limits of the linear programs, so that a bound takes seconds.
const (
	programRows  = 200
	patternSizes = 64
	patternCells = 1 << 19
)

// exact is subtracted before a bound is rounded up, because linear programs are solved with floating
// point numbers.
const exact = 1e-6

// byShapes is the value of the linear program that divides the pods of every size among the shapes
// of nodes that can hold them. Its variables are the pods of each size on each shape, and the nodes
// of each shape that are used. It counts both resources together, and that large pods fit only on
// large nodes, but divides pods. It returns 0 if the program is too large, or if the pods do not fit.
func byShapes(shapes []supply, sizes []demand) int {
	rows := len(sizes) + 3*len(shapes)
	if rows > programRows {
		return 0
	}
	type column struct {
		cost  float64
		at    []int
		value []float64
	}
	var columns []column
	add := func(cost float64, at []int, value []float64) { columns = append(columns, column{cost, at, value}) }
	right := make([]float64, rows)
	for i, d := range sizes {
		right[i] = 1 // a size is divided by shares
		for k, s := range shapes {
			if fits(d.size, s.capacity) {
				at := len(sizes) + 3*k
				add(0, []int{i, at, at + 1}, []float64{
					1, -demanded(d.count, d.size.CPUMillis, s.count, s.capacity.CPUMillis), -demanded(d.count, d.size.MemoryMiB, s.count, s.capacity.MemoryMiB),
				})
			}
		}
	}
	for k, s := range shapes {
		at := len(sizes) + 3*k
		right[at+2] = 1
		add(float64(s.count), []int{at, at + 1, at + 2}, []float64{1, 1, 1}) // the share of the nodes that is used
		add(0, []int{at}, []float64{-1})
		add(0, []int{at + 1}, []float64{-1})
		add(0, []int{at + 2}, []float64{1})
	}
	a, cost := mat.NewDense(rows, len(columns), nil), make([]float64, len(columns))
	for j, c := range columns {
		cost[j] = c.cost
		for x, i := range c.at {
			a.Set(i, j, c.value[x])
		}
	}
	value, _, err := lp.Simplex(cost, a, right, 1e-10, nil)
	if err != nil {
		return 0
	}
	return int(math.Ceil(value - exact))
}

// demanded is the demand of some pods as a share of the capacity of some nodes.
func demanded(pods, size, nodes, capacity int) float64 {
	return float64(pods) * float64(size) / (float64(nodes) * float64(max(1, capacity)))
}

var errTooFine = errors.New("too many different amounts")

// byPatterns is the value of the linear program over patterns, for equal nodes (Gilmore and Gomory,
// "A linear programming approach to the cutting-stock problem", Operations Research 1961). A pattern
// is the pods of one node. The dual program finds a price for each size so that no pattern costs
// more than 1. Then the price of all pods is a lower bound. Patterns are added as long as one costs
// more. The prices are divided by the cost of the dearest pattern, so the bound also holds before the
// last pattern is found (Farley, "A note on bounding a class of linear programming problems",
// Operations Research 1990). It returns 0 if there are too many sizes or if the grid is too fine.
func byPatterns(shape supply, sizes []demand) int {
	if len(sizes) > patternSizes {
		return 0
	}
	k, err := newKnapsack(shape.capacity, sizes)
	if err != nil {
		return 0
	}
	prices := make([]float64, len(sizes))
	for i, d := range sizes {
		prices[i] = max(share(d.size.CPUMillis, shape.capacity.CPUMillis), share(d.size.MemoryMiB, shape.capacity.MemoryMiB))
	}
	best := 0.0
	var patterns [][]float64
	for range 1000 {
		pattern, dearest := k.fill(prices)
		sum := 0.0
		for i, d := range sizes {
			sum += prices[i] * float64(d.count)
		}
		best = max(best, sum/dearest)
		if dearest <= 1+exact {
			break
		}
		patterns = append(patterns, pattern)
		if prices, err = cheapest(patterns, sizes); err != nil {
			break
		}
	}
	return int(math.Ceil(best - exact))
}

// cheapest returns the prices with the largest sum over the pods, so that no pattern costs more than
// 1, and no pod more than 1.
func cheapest(patterns [][]float64, sizes []demand) ([]float64, error) {
	n, rows := len(sizes), len(patterns)+len(sizes)
	a, right, cost, basis := mat.NewDense(rows, n+rows, nil), make([]float64, rows), make([]float64, n+rows), make([]int, rows)
	for r := range rows {
		right[r] = 1
		if r < len(patterns) {
			for i, v := range patterns[r] {
				a.Set(r, i, v)
			}
		} else {
			a.Set(r, r-len(patterns), 1)
		}
		a.Set(r, n+r, 1)
		basis[r] = n + r
	}
	for i, d := range sizes {
		cost[i] = -float64(d.count)
	}
	_, x, err := lp.Simplex(cost, a, right, 1e-10, basis)
	if err != nil {
		return nil, err
	}
	return x[:n], nil
}

// knapsack finds the dearest pattern of a node by dynamic programming, on a grid of the greatest
// common divisors of the sizes.
type knapsack struct {
	cpu, memory int // cells
	sizes       [][2]int
	value       []float64
	last        []int16 // the size that was added last, or one of the following
}

// Cells to which no size was added last.
const (
	nothing    = -1 - iota // the cell is empty
	lessCPU                // as with less cpu
	lessMemory             // as with less memory
)

func newKnapsack(capacity scheduler.Resources, sizes []demand) (*knapsack, error) {
	cpu, memory := 0, 0
	for _, d := range sizes {
		cpu, memory = gcd(cpu, d.size.CPUMillis), gcd(memory, d.size.MemoryMiB)
	}
	cpu, memory = max(1, cpu), max(1, memory)
	k := &knapsack{cpu: capacity.CPUMillis/cpu + 1, memory: capacity.MemoryMiB/memory + 1}
	if k.cpu > patternCells || k.memory > patternCells || k.cpu*k.memory > patternCells {
		return nil, errTooFine
	}
	for _, d := range sizes {
		k.sizes = append(k.sizes, [2]int{d.size.CPUMillis / cpu, d.size.MemoryMiB / memory})
	}
	k.value, k.last = make([]float64, k.cpu*k.memory), make([]int16, k.cpu*k.memory)
	return k, nil
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// fill returns the dearest pattern, and what it costs. A pattern may have more pods of a size
// than there are.
func (k *knapsack) fill(prices []float64) (pattern []float64, cost float64) {
	clear(k.value)
	for i := range k.last {
		k.last[i] = nothing
	}
	for c := range k.cpu {
		for m := range k.memory {
			at := c*k.memory + m
			if c > 0 && k.value[at-k.memory] > k.value[at] {
				k.value[at], k.last[at] = k.value[at-k.memory], lessCPU
			}
			if m > 0 && k.value[at-1] > k.value[at] {
				k.value[at], k.last[at] = k.value[at-1], lessMemory
			}
			for i, s := range k.sizes {
				if s[0] <= c && s[1] <= m {
					if v := k.value[at-s[0]*k.memory-s[1]] + prices[i]; v > k.value[at]+1e-12 {
						k.value[at], k.last[at] = v, int16(i)
					}
				}
			}
		}
	}
	pattern = make([]float64, len(prices))
	at := len(k.value) - 1
	cost = k.value[at]
	for k.last[at] != nothing {
		switch i := k.last[at]; i {
		case lessCPU:
			at -= k.memory
		case lessMemory:
			at--
		default:
			pattern[i]++
			at -= k.sizes[i][0]*k.memory + k.sizes[i][1]
		}
	}
	return pattern, cost
}

func share(part, whole int) float64 { return float64(part) / float64(max(1, whole)) }
