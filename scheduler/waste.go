// SPDX-License-Identifier: Apache-2.0

package scheduler

// Waste is how well the capacity of the ready nodes is used.
type Waste struct {
	Nodes, Open    int       // ready nodes, and those of them with at least one pod
	Free           Resources // on all ready nodes
	StrandedCPU    float64   // millis free on open nodes; pods of the usual sizes are expected to leave them unused
	StrandedMemory float64   // MiB, the same
	AveragePods    int       // how many more pods of the average size would fit, summed over the nodes
}

// Waste computes how well the capacity is used. It looks at every node once.
func (f *Fleet) Waste() (w Waste) {
	average := Resources{int(f.mix.demandCPU), int(f.mix.demandMemory)}
	for i := range f.nodes {
		n := &f.nodes[i]
		if !n.ready {
			continue
		}
		w.Nodes++
		free := Resources{max(0, n.free.CPUMillis), max(0, n.free.MemoryMiB)}
		w.Free = w.Free.plus(free)
		if each := average.plus(n.over); each.CPUMillis > 0 && each.MemoryMiB > 0 {
			w.AveragePods += min(free.CPUMillis/each.CPUMillis, free.MemoryMiB/each.MemoryMiB)
		}
		if n.isOpen() {
			w.Open++
			cpu, memory := f.mix.leftover(free)
			w.StrandedCPU += cpu
			w.StrandedMemory += memory
		}
	}
	return w
}

// leftover is the part of the free capacity that the mix is expected to leave unused: the mean over
// the usual sizes, weighted by the capacity that each uses.
func (m *mix) leftover(free Resources) (cpu, memory float64) {
	var weights float64
	for i := range m.types {
		t := &m.types[i]
		n := float64(int(min(float64(free.CPUMillis)*t.perCPU, float64(free.MemoryMiB)*t.perMemory)))
		weight := t.strandCPU * m.cpu
		weights += weight
		cpu += weight * (float64(free.CPUMillis) - n*t.cpu)
		memory += weight * (float64(free.MemoryMiB) - n*t.memory)
	}
	if weights == 0 {
		return 0, 0
	}
	return cpu / weights, memory / weights
}
