package scheduler

import (
	"cmp"
	"math"
	"slices"
)

const (
	typesUsed  = 32   // how many typical pods stranding is measured by
	typesKept  = 4096 // how many sizes are counted
	relearnMax = 4096 // placements between two looks at the counts, at most
)

// typical is one size of pod that is expected, and its weight.
type typical struct {
	size        Resources
	perCPU      float64 // 1/size, so that the hot path multiplies
	perMemory   float64
	strandCPU   float64 // what one milli and one MiB of leftover weigh
	strandMem   float64
	cpu, memory float64
}

// mix learns which sizes of pods arrive, and says how much of a node's free room they cannot use.
//
// For a node with free room f and a typical pod t, n = min over resources of floor(f/t) pods more fit, and f - n*t is left over. The
// expectation of the leftover over the mix, each resource in units of the average node, is the room that is stranded. A placement is
// judged by how much it adds. This is the idea of fragmentation gradient descent (Weng et al., USENIX ATC 2023), which counts room as
// stranded only where a pod does not fit at all; counting leftovers too, and weighing the types by the room they take rather than by
// number, packs tighter on cpu and memory (docs/scheduling.md has both). Nothing is told beforehand: the mix is what has been asked for.
type mix struct {
	index        map[Resources]int32
	sizes        []Resources
	counts       []float64
	seen, next   int
	types        []typical
	version      uint32
	cpu, memory  float64 // the average node, the unit of stranding
	demandCPU    float64 // the average pod
	demandMemory float64
}

func newMix() mix { return mix{index: map[Resources]int32{}, version: 1, cpu: 1, memory: 1} }

// see counts a pod that was asked for.
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

// forget halves every count and drops the sizes that were asked for once, so that an endless stream of new sizes takes bounded memory.
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

// learn makes the typical pods of the counts. It is done when the counts have grown by a tenth, and then every relearnMax pods.
func (m *mix) learn() {
	m.next = m.seen + min(relearnMax, m.seen/10+10)
	m.version++
	all := make([]typical, 0, len(m.sizes))
	var number float64
	m.demandCPU, m.demandMemory = 0, 0
	for i, s := range m.sizes {
		t := typical{size: s, cpu: float64(s.CPUMillis), memory: float64(s.MemoryMiB)}
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
	slices.SortStableFunc(all, func(a, b typical) int {
		return cmp.Or(cmp.Compare(b.strandCPU, a.strandCPU), cmp.Compare(a.size.CPUMillis, b.size.CPUMillis), cmp.Compare(a.size.MemoryMiB, b.size.MemoryMiB))
	})
	m.types = append(m.types[:0], all[:min(len(all), typesUsed)]...)
	for i := range m.types {
		t := &m.types[i]
		weight := t.strandCPU / number
		t.strandCPU, t.strandMem = weight/m.cpu, weight/m.memory
		t.perCPU, t.perMemory = inverse(t.cpu), inverse(t.memory)
	}
}

// inverse is slightly more than 1/v, so that an exact multiple does not come out as one less. Nothing is 0 wide: what takes none of a
// resource is taken to need a negligible part of it.
func inverse(v float64) float64 {
	const nudge = 1e-12
	return (1 + nudge) / max(v, 1e-3)
}

// usable is the part of the free room that the mix is expected to fill, in average nodes, by the resource that it fills most of.
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

// noLimit asks stranded for the exact sum.
var noLimit = math.Inf(1)

// stranded is the part of the free room that the mix is expected to leave unused, in average nodes weighed by the room of the types. Where
// it is more than the limit, it may be anything above the limit: types are sorted by weight, so the sum is left early.
func (m *mix) stranded(free Resources, limit float64) float64 {
	cpu, memory := float64(free.CPUMillis), float64(free.MemoryMiB)
	var sum float64
	for i := range m.types {
		t := &m.types[i]
		n := float64(int(min(cpu*t.perCPU, memory*t.perMemory)))
		sum += (cpu-n*t.cpu)*t.strandCPU + (memory-n*t.memory)*t.strandMem
		if sum > limit {
			break
		}
	}
	return sum
}
