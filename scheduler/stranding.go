// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"cmp"
	"math"
	"slices"
)

const (
	typesUsed  = 32   // how many typical pods are used to measure stranding
	typesKept  = 4096 // how many sizes are counted
	relearnMax = 4096 // learn runs again after at most so many placements
)

// typical is one expected size of pod, and its weight.
type typical struct {
	perCPU      float64 // 1/size, so that the hot path multiplies instead of dividing
	perMemory   float64
	strandCPU   float64 // the weight of one milli and of one MiB of leftover
	strandMem   float64
	cpu, memory float64
}

// quick has the numbers of a typical pod that the method loses uses. The mix pads its list of them
// to a multiple of quickStep.
type quick struct {
	perCPU, perMemory float64
	worth             float64 // by how much one pod of the type reduces the stranded capacity
	weights           float64 // the sum of the weights of all types up to this one
}

const quickStep = 4

// mix learns which sizes of pods arrive, and computes how much of a node's free capacity they
// cannot use.
//
// For a node with free capacity f and a typical pod t, n = min over resources of floor(f/t) more
// pods fit, and f - n*t is left over. The stranded capacity is the expectation of the leftover over
// the mix, each resource in units of the average node. A placement is judged by how much stranded
// capacity it adds. This is the idea of fragmentation gradient descent (Weng et al., USENIX ATC
// 2023), which counts capacity as stranded only if a pod does not fit at all. Two changes pack cpu
// and memory tighter (see docs/scheduling.md): leftovers count too, and types are weighted by the
// capacity they use rather than by their number. Nothing is configured: the mix is learned from the
// pods that are created.
type mix struct {
	index        map[Resources]int32
	sizes        []Resources
	counts       []float64
	seen, next   int
	types        []typical
	quick        []quick // the same, for loses
	version      uint32
	cpu, memory  float64 // the average node, the unit of stranding
	demandCPU    float64 // the average pod
	demandMemory float64
	perCPU       float64 // 1/demandCPU and 1/demandMemory
	perMemory    float64
}

func newMix() mix { return mix{index: map[Resources]int32{}, version: 1, cpu: 1, memory: 1} }

// see counts a requested pod.
func (m *mix) see(size Resources) {
	i, known := m.index[size]
	if !known {
		if len(m.sizes) >= typesKept {
			m.forget()
		}
		i = int32(len(m.sizes))
		m.index[size] = i
		m.sizes, m.counts = append(m.sizes, size), append(m.counts, 0)
	}
	m.counts[i]++
	m.seen++
	if m.seen >= m.next {
		m.learn()
	}
}

// forget halves every count and drops the sizes whose count is then below 1, and those beyond
// typesKept/2, so that an endless stream of new sizes uses bounded memory.
func (m *mix) forget() {
	clear(m.index)
	kept := 0
	for i, s := range m.sizes {
		if m.counts[i] /= 2; m.counts[i] < 1 || kept >= typesKept/2 {
			continue
		}
		m.index[s] = int32(kept)
		m.sizes[kept], m.counts[kept] = s, m.counts[i]
		kept++
	}
	m.sizes, m.counts = m.sizes[:kept], m.counts[:kept]
}

// learn computes the typical pods from the counts. It runs when about a tenth more pods have been
// counted, and later after every relearnMax pods.
func (m *mix) learn() {
	m.next = m.seen + min(relearnMax, m.seen/10+10)
	m.version++
	all := make([]typical, 0, len(m.sizes))
	var number float64
	m.demandCPU, m.demandMemory = 0, 0
	for i, s := range m.sizes {
		t := typical{cpu: float64(s.CPUMillis), memory: float64(s.MemoryMiB)}
		t.strandCPU = m.counts[i] * (t.cpu/m.cpu + t.memory/m.memory)
		number += m.counts[i]
		m.demandCPU += m.counts[i] * t.cpu
		m.demandMemory += m.counts[i] * t.memory
		all = append(all, t)
	}
	if number > 0 {
		m.demandCPU /= number
		m.demandMemory /= number
	}
	m.perCPU, m.perMemory = 1/max(1, m.demandCPU), 1/max(1, m.demandMemory)
	slices.SortStableFunc(all, func(a, b typical) int {
		return cmp.Or(cmp.Compare(b.strandCPU, a.strandCPU), cmp.Compare(a.cpu, b.cpu), cmp.Compare(a.memory, b.memory))
	})
	m.types = append(m.types[:0], all[:min(len(all), typesUsed)]...)
	for i := range m.types {
		t := &m.types[i]
		weight := t.strandCPU / number
		t.strandCPU, t.strandMem = weight/m.cpu, weight/m.memory
		t.perCPU, t.perMemory = inverse(t.cpu), inverse(t.memory)
	}
	m.quick = m.quick[:0]
	weights := 0.0
	for i := range m.types {
		t := &m.types[i]
		weights += t.strandCPU * m.cpu
		m.quick = append(m.quick, quick{t.perCPU, t.perMemory, t.cpu*t.strandCPU + t.memory*t.strandMem, weights})
	}
	for len(m.quick)%quickStep != 0 {
		m.quick = append(m.quick, quick{weights: weights})
	}
}

// share is the dominant share of an amount: the larger of its shares of the average node.
func (m *mix) share(r Resources) float64 {
	return max(float64(r.CPUMillis)/m.cpu, float64(r.MemoryMiB)/m.memory)
}

// inverse returns slightly more than 1/v, so that an exact multiple is not rounded down to one
// less. A pod that needs none of a resource counts as if it needed a negligible amount.
func inverse(v float64) float64 {
	const nudge = 1e-12
	return (1 + nudge) / max(v, 1e-3)
}

// usable is the part of the free capacity that the mix is expected to fill, in average nodes, for
// the resource of which it fills more.
func (m *mix) usable(free Resources) float64 {
	cpu, memory := float64(free.CPUMillis), float64(free.MemoryMiB)
	var ofCPU, ofMemory, weights float64
	for i := range m.types {
		t := &m.types[i]
		n := float64(int(min(cpu*t.perCPU, memory*t.perMemory)))
		ofCPU += n * t.cpu * t.strandCPU
		ofMemory += n * t.memory * t.strandMem
		weights += t.strandCPU * m.cpu
	}
	if weights == 0 {
		return 0
	}
	return max(ofCPU, ofMemory) / weights
}

// unbalanced is what the average pod leaves of the free capacity if it can be divided at will: the
// part of one resource for which the other is missing. The types alone count each size as if no
// other came. Together, large sizes leave what small ones fill, if cpu and memory stay in balance.
func (m *mix) unbalanced(cpu, memory float64) float64 {
	pods := cpu * m.perCPU
	if byMemory := memory * m.perMemory; byMemory < pods { // as below
		pods = byMemory
	}
	return balanceWeight * ((cpu-pods*m.demandCPU)/m.cpu + (memory-pods*m.demandMemory)/m.memory)
}

// balanceWeight weighs the balance of a node against the sizes that fit there.
const balanceWeight = 0.4

// noLimit makes stranded compute the exact sum.
var noLimit = math.Inf(1)

// stranded is the part of the free capacity that the mix is expected to leave unused, in average
// nodes, weighted by the capacity that the types use. If it exceeds the limit, the result is any
// value above the limit: types are sorted by weight, so the sum can end early.
func (m *mix) stranded(free Resources, limit float64) float64 {
	cpu, memory := float64(free.CPUMillis), float64(free.MemoryMiB)
	sum := m.unbalanced(cpu, memory)
	if limit < noLimit && m.loses(cpu, memory, limit-sum) {
		return limit + lossMargin
	}
	for i := range m.types {
		t := &m.types[i]
		fit := cpu * t.perCPU
		if byMemory := memory * t.perMemory; byMemory < fit { // the built-in min would also check for NaN
			fit = byMemory
		}
		n := float64(int(fit))
		sum += (cpu-n*t.cpu)*t.strandCPU + (memory-n*t.memory)*t.strandMem
		if sum > limit {
			break
		}
	}
	return sum
}

// lossMargin is far above the rounding difference between the two ways to sum, in nodes.
const lossMargin = 1e-9

// loses reports whether the stranded capacity is certainly above a limit. Most candidates lose, and
// for these a call of loses costs half as much as the exact sum. It separates the terms of that
// sum, (cpu-n*t.cpu)*t.strandCPU + (memory-n*t.memory)*t.strandMem, into the parts that depend on n
// and the others.
func (m *mix) loses(cpu, memory, limit float64) bool {
	free := cpu/m.cpu + memory/m.memory
	used := 0.0
	for q := m.quick; len(q) >= quickStep; q = q[quickStep:] {
		used += q[0].fit(cpu, memory) + q[1].fit(cpu, memory) + q[2].fit(cpu, memory) + q[3].fit(cpu, memory)
		if q[quickStep-1].weights*free-used > limit+lossMargin {
			return true
		}
	}
	return false
}

// fit returns by how much the stranded capacity is reduced if as many pods of the type as fit are
// placed.
func (q *quick) fit(cpu, memory float64) float64 {
	n := cpu * q.perCPU
	if m := memory * q.perMemory; m < n {
		n = m
	}
	return float64(int(n)) * q.worth
}
