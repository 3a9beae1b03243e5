// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"math"
	"slices"

	"husk/scheduler"
)

// machine is a node as a full scan sees it.
type machine struct {
	free, capacity scheduler.Resources
	gpus           int
}

func (m *machine) fits(p *request) bool {
	return m.free.CPUMillis >= p.size.CPUMillis && m.free.MemoryMiB >= p.size.MemoryMiB && m.gpus >= p.gpus
}

// left returns the share of each resource that is free after the pod is placed.
func (m *machine) left(p *request) (cpu, memory float64) {
	return float64(m.free.CPUMillis-p.size.CPUMillis) / float64(max(1, m.capacity.CPUMillis)),
		float64(m.free.MemoryMiB-p.size.MemoryMiB) / float64(max(1, m.capacity.MemoryMiB))
}

// scores are the rules of other schedulers. The node with the highest score is chosen, and the
// first in the file among equals. The schedulers themselves choose randomly among equals, and Nomad
// among a few random nodes.
var scores = map[string]func(m *machine, p *request) float64{
	"first-fit": nil, // the first that fits
	// best-fit minimizes the larger of the remaining shares of the node. Panigrahy et al., 2011,
	// call it the L-infinity norm.
	"best-fit": func(m *machine, p *request) float64 { return -max(m.left(p)) },
	// spread is Kubernetes' NodeResourcesFit with LeastAllocated: the mean over resources of
	// free*100/capacity, in whole numbers
	// (kubernetes/pkg/scheduler/framework/plugins/noderesources/least_allocated.go).
	"spread": func(m *machine, p *request) float64 {
		cpu, memory := m.left(p)
		return math.Floor((math.Floor(cpu*100) + math.Floor(memory*100)) / 2)
	},
	// kube-most-allocated is the same with MostAllocated: the mean of requested*100/capacity, in
	// whole numbers (kubernetes/pkg/scheduler/framework/plugins/noderesources/most_allocated.go).
	"kube-most-allocated": func(m *machine, p *request) float64 {
		cpu, memory := m.left(p)
		return math.Floor((math.Floor((1-cpu)*100) + math.Floor((1-memory)*100)) / 2)
	},
	// nomad-binpack is ScoreFitBinPack: 20 - (10^free cpu + 10^free memory), from 0 to 18
	// (hashicorp/nomad nomad/structs/funcs.go, after Google's BestFit v3).
	"nomad-binpack": func(m *machine, p *request) float64 {
		cpu, memory := m.left(p)
		return min(18, max(0, 20-(math.Pow(10, cpu)+math.Pow(10, memory))))
	},
}

// scan places by looking at every node.
type scan struct {
	machines []machine
	score    func(m *machine, p *request) float64
	on       map[int]int32 // node by pod
	pods     map[int]*request
}

func newScan(nodes []Node, score func(m *machine, p *request) float64) *scan {
	s := &scan{score: score, on: map[int]int32{}, pods: map[int]*request{}}
	for _, n := range nodes {
		s.machines = append(s.machines, machine{free: n.Capacity, capacity: n.Capacity, gpus: n.GPUs})
	}
	return s
}

func (*scan) at(float64) {}

func (s *scan) place(batch []request, nodes []int32) {
	for k := range batch {
		p := &batch[k]
		best, highest := int32(-1), 0.0
		for i := range s.machines {
			m := &s.machines[i]
			if !m.fits(p) {
				continue
			}
			if s.score == nil {
				best = int32(i)
				break
			}
			if v := s.score(m, p); best < 0 || v > highest {
				best, highest = int32(i), v
			}
		}
		nodes[k] = best
		if best >= 0 {
			s.take(best, p, 1)
			s.on[p.id], s.pods[p.id] = best, &request{size: p.size, gpus: p.gpus}
		}
	}
}

func (s *scan) take(node int32, p *request, sign int) {
	m := &s.machines[node]
	m.free.CPUMillis -= sign * p.size.CPUMillis
	m.free.MemoryMiB -= sign * p.size.MemoryMiB
	m.gpus -= sign * p.gpus
}

func (s *scan) release(id int) {
	s.take(s.on[id], s.pods[id], -1)
	delete(s.on, id)
	delete(s.pods, id)
}

// offlineGreedy is the name of a rule that sees all pods of a batch before it places the first.
const offlineGreedy = "offline-greedy"

// greedy fills one node after the other, in the order of the file. A node gets, of all sizes that
// fit, the one after which the shares of cpu and memory that are left differ least, until none fits.
type greedy struct{ *scan }

func (g greedy) place(batch []request, nodes []int32) {
	type kind struct {
		size scheduler.Resources
		gpus int
	}
	left := map[kind][]int{}
	var kinds []kind
	for k := range batch {
		nodes[k] = -1
		x := kind{batch[k].size, batch[k].gpus}
		if left[x] == nil {
			kinds = append(kinds, x)
		}
		left[x] = append(left[x], k)
	}
	for at := range g.machines {
		for len(kinds) > 0 {
			best, least := -1, math.Inf(1)
			for i, x := range kinds {
				p := &batch[left[x][0]]
				if cpu, memory := g.machines[at].left(p); g.machines[at].fits(p) && math.Abs(cpu-memory) < least {
					best, least = i, math.Abs(cpu-memory)
				}
			}
			if best < 0 {
				break
			}
			x := kinds[best]
			k := left[x][0]
			nodes[k] = int32(at)
			g.take(int32(at), &batch[k], 1)
			g.on[batch[k].id], g.pods[batch[k].id] = int32(at), &request{size: x.size, gpus: x.gpus}
			if left[x] = left[x][1:]; len(left[x]) == 0 {
				kinds = slices.Delete(kinds, best, best+1)
			}
		}
	}
}
