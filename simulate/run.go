// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"container/heap"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"husk/scheduler"
)

// Options say what to run.
type Options struct {
	Policy string
	Batch  int    // how many arrivals are placed together
	GPUs   bool   // include GPUs
	Hints  string // none, perfect, or noisy: wrong by a factor of two, randomly up or down
	Seed   uint64 // of the noise
	Params scheduler.Params
	// MovesPerPodHour is the budget of moves that empty nodes, per hour that a pod runs. Only Husk
	// moves pods, and only in a trace with times.
	MovesPerPodHour float64
	// MakeRoom is how many running pods may move so that one pod fits that fits on no node. Only Husk
	// moves pods.
	MakeRoom int
	// Program computes Result.LowerBoundProgram, which takes seconds.
	Program bool
}

// Policies returns the names of the policies.
func Policies() []string {
	return append([]string{"husk", offlineGreedy}, slices.Sorted(maps.Keys(scores))...)
}

// Result is the result of a simulation. The JSON names are stable.
type Result struct {
	Policy   string `json:"policy"`
	Placed   int    `json:"placed"`
	Unplaced int    `json:"unplaced"`
	TooLarge int    `json:"unplaced_too_large"` // unplaced pods that no node could hold even when empty
	// NodesUsed is how many nodes ever had a pod; without departures and moves, how many have one at the end.
	NodesUsed int `json:"nodes_used"`
	NodesPeak int `json:"nodes_used_peak"`
	// NodesMean is weighted by time, from the first arrival to the last. For a trace with times,
	// LowerBound is the bound at each moment, weighted in the same way. So their quotient is the
	// distance from a perfect packing that moves pods for free.
	NodesMean  float64 `json:"nodes_used_mean"`
	LowerBound float64 `json:"lower_bound"`
	// LowerBoundProgram is the value of a linear program, for a trace without times. It is 0 if the
	// program is too large.
	LowerBoundProgram float64 `json:"lower_bound_program,omitempty"`
	BoundCPU          float64 `json:"lower_bound_cpu,omitempty"`
	BoundMemory       float64 `json:"lower_bound_memory,omitempty"`
	// NodesMeanToEnd and LowerBoundToEnd are the same until the last departure. This adds the time in
	// which no pods arrive and the last pods keep their nodes in use.
	NodesMeanToEnd  float64 `json:"nodes_used_mean_to_end,omitempty"`
	LowerBoundToEnd float64 `json:"lower_bound_to_end,omitempty"`
	// The free capacity of the used nodes when the last pod has arrived.
	StrandedCPU    int     `json:"free_on_used_cpu_milli"`
	StrandedMemory int     `json:"free_on_used_memory_mib"`
	PerSecond      float64 `json:"placements_per_second"`
	P50            float64 `json:"decision_p50_us"`
	P99            float64 `json:"decision_p99_us"`
	MaxRSS         float64 `json:"max_rss_mib"`
	// Moves are those that emptied nodes, MovesForRoom those that freed capacity for MadeRoom pods.
	Moves           int     `json:"moves"`
	MovesForRoom    int     `json:"moves_for_room"`
	MadeRoom        int     `json:"placed_by_moves"`
	MovesPerPodHour float64 `json:"moves_per_pod_hour,omitempty"`
	MovedMiB        int     `json:"moved_mib"` // the memory of the pods that moved, all moves together

	On []int32 `json:"-"` // the node of each pod when the last has arrived; -1 is none
}

// request is a pod to place.
type request struct {
	id   int
	size scheduler.Resources
	gpus int
	hint float64
}

// policy places and releases pods.
type policy interface {
	at(seconds float64)
	place(batch []request, nodes []int32)
	release(id int)
}

// mover is a policy that moves pods.
type mover interface {
	drain(most int) []relocation
	makeRoom(r *request, most int) (node int32, moved []relocation)
}

// relocation is a move of a pod to a node.
type relocation struct {
	id int
	to int32
}

// departures is a heap of pods by the time at which they end.
type departures []departure

type departure struct {
	at float64
	id int
}

func (d departures) Len() int { return len(d) }
func (d departures) Less(i, j int) bool {
	return d[i].at < d[j].at || d[i].at == d[j].at && d[i].id < d[j].id
}
func (d departures) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *departures) Push(x any)   { *d = append(*d, x.(departure)) } //nolint:forcetypeassert // only departures are pushed
func (d *departures) Pop() any {
	old := *d
	x := old[len(old)-1]
	*d = old[:len(old)-1]
	return x
}

// run is a running simulation.
type run struct {
	policy   policy
	pods     []Pod
	timed    bool
	on       []int32
	holds    []int // pods by node
	ever     []bool
	going    departures
	running  scheduler.Resources
	bound    moment
	used     int
	now      float64
	area     float64
	boundSum float64
	alive    int // running pods
	podHours float64
	planned  float64 // when moves were planned last
	spent    time.Duration
	took     []float64 // microseconds of each decision
	result   Result
}

// Run simulates a trace.
func Run(nodes []Node, trace Trace, o Options) (Result, error) {
	r := &run{pods: trace.Pods, timed: trace.Timed, on: make([]int32, len(trace.Pods)), holds: make([]int, len(nodes)), ever: make([]bool, len(nodes)), bound: newMoment(nodes)}
	r.result.Policy = o.Policy
	score, known := scores[o.Policy]
	switch {
	case known:
		r.policy = newScan(nodes, score)
	case o.Policy == offlineGreedy:
		r.policy = greedy{newScan(nodes, nil)}
	case o.Policy == "husk":
		r.policy = newHusk(nodes, o.GPUs, o.Params)
	default:
		return Result{}, fmt.Errorf("unknown policy %q; use one of %s", o.Policy, strings.Join(Policies(), ", "))
	}
	r.took = make([]float64, 0, len(r.pods)/max(1, o.Batch)+1)
	r.play(max(1, o.Batch), o)
	r.finish(nodes, o)
	return r.result, nil
}

// play places the pods, batch by batch. Before it places a batch, it releases the pods that have
// ended by then.
func (r *run) play(size int, o Options) {
	noise := rand.New(rand.NewPCG(o.Seed, 1)) //nolint:gosec // the same noise for every policy
	batch, where := make([]request, 0, size), make([]int32, size)
	r.now = r.pods[0].Arrival
	for from := 0; from < len(r.pods); from += len(batch) {
		batch = batch[:0]
		for id := from; id < min(from+size, len(r.pods)); id++ {
			p := &r.pods[id]
			q := request{id: id, size: p.Size}
			if o.GPUs {
				q.gpus = p.GPUs
			}
			if r.timed && !math.IsInf(p.Duration, 1) {
				switch o.Hints {
				case "perfect":
					q.hint = p.Duration
				case "noisy":
					q.hint = p.Duration * []float64{0.5, 2}[noise.IntN(2)]
				}
			}
			batch = append(batch, q)
		}
		if last := r.pods[from+len(batch)-1]; r.timed { // a batch waits for its last pod
			r.depart(last.Arrival)
			r.advance(last.Arrival)
			r.policy.at(last.Arrival)
			r.defragment(o)
		}
		start := time.Now()
		r.policy.place(batch, where)
		took := time.Since(start)
		r.spent += took
		r.took = append(r.took, float64(took.Nanoseconds())/1000/float64(len(batch)))
		for i := range batch {
			if where[i] < 0 {
				where[i] = r.makeRoom(&batch[i], o)
			}
			r.arrived(batch[i].id, where[i])
		}
	}
}

// planEvery is the time between two plans of moves, in seconds.
const planEvery = 900

// defragment empties nodes, as far as the budget of moves allows.
func (r *run) defragment(o Options) {
	m, moves := r.policy.(mover)
	budget := int(o.MovesPerPodHour*r.podHours) - r.result.Moves
	if !moves || budget < 1 || r.now < r.planned+planEvery {
		return
	}
	r.planned = r.now
	start := time.Now()
	moved := m.drain(budget)
	r.spent += time.Since(start)
	r.result.Moves += r.relocate(moved)
}

// makeRoom moves pods for a pod that was refused, and returns its node, or -1.
func (r *run) makeRoom(q *request, o Options) int32 {
	m, moves := r.policy.(mover)
	if !moves || o.MakeRoom < 1 {
		return -1
	}
	start := time.Now()
	node, moved := m.makeRoom(q, o.MakeRoom)
	r.spent += time.Since(start)
	if node >= 0 {
		r.result.MadeRoom++
	}
	r.result.MovesForRoom += r.relocate(moved)
	return node
}

func (r *run) relocate(moved []relocation) int {
	for _, x := range moved {
		r.result.MovedMiB += r.pods[x.id].Size.MemoryMiB
		r.left(x.id)
		r.entered(x.id, x.to)
	}
	return len(moved)
}

// entered counts a pod on a node.
func (r *run) entered(id int, node int32) {
	r.on[id] = node
	r.alive++
	if r.holds[node]++; r.holds[node] > 1 {
		return
	}
	r.used++
	r.result.NodesPeak = max(r.result.NodesPeak, r.used)
	if !r.ever[node] {
		r.ever[node] = true
		r.result.NodesUsed++
	}
}

// left is the reverse of entered.
func (r *run) left(id int) {
	r.alive--
	if r.holds[r.on[id]]--; r.holds[r.on[id]] == 0 {
		r.used--
	}
	r.on[id] = -1
}

func (r *run) arrived(id int, node int32) {
	if node < 0 {
		r.on[id] = node
		r.result.Unplaced++
		return
	}
	r.result.Placed++
	r.entered(id, node)
	p := &r.pods[id]
	r.running.CPUMillis += p.Size.CPUMillis
	r.running.MemoryMiB += p.Size.MemoryMiB
	if r.timed && !math.IsInf(p.Duration, 1) {
		heap.Push(&r.going, departure{p.Arrival + p.Duration, id})
	}
}

// depart releases the pods that have ended by the given time.
func (r *run) depart(until float64) {
	for len(r.going) > 0 && r.going[0].at <= until {
		d, _ := heap.Pop(&r.going).(departure)
		r.advance(d.at)
		start := time.Now()
		r.policy.at(d.at)
		r.policy.release(d.id)
		r.spent += time.Since(start)
		r.left(d.id)
		r.running.CPUMillis -= r.pods[d.id].Size.CPUMillis
		r.running.MemoryMiB -= r.pods[d.id].Size.MemoryMiB
	}
}

func (r *run) advance(to float64) {
	if to > r.now {
		r.area += float64(r.used) * (to - r.now)
		r.boundSum += float64(r.bound.of(r.running)) * (to - r.now)
		r.podHours += float64(r.alive) * (to - r.now) / 3600
		r.now = to
	}
}

// finish measures the packing when the last pod has arrived, and releases the rest.
func (r *run) finish(nodes []Node, o Options) {
	x := &r.result
	x.On = slices.Clone(r.on)
	for i, n := range nodes {
		if r.holds[i] > 0 {
			x.StrandedCPU += n.Capacity.CPUMillis
			x.StrandedMemory += n.Capacity.MemoryMiB
		}
	}
	x.StrandedCPU -= r.running.CPUMillis
	x.StrandedMemory -= r.running.MemoryMiB
	fit := r.sizesThatFit(nodes, o)
	x.TooLarge = len(r.pods) - len(fit)
	if r.podHours > 0 {
		x.MovesPerPodHour = float64(x.Moves+x.MovesForRoom) / r.podHours
	}
	if start := r.pods[0].Arrival; r.timed && r.now > start {
		x.NodesMean, x.LowerBound = r.area/(r.now-start), r.boundSum/(r.now-start)
		r.depart(math.Inf(1))
		x.NodesMeanToEnd, x.LowerBoundToEnd = r.area/(r.now-start), r.boundSum/(r.now-start)
	} else {
		b := staticBounds(nodes, fit)
		x.NodesMean, x.LowerBound, x.BoundCPU, x.BoundMemory = float64(x.NodesUsed), float64(b.best()), float64(b.CPU), float64(b.Memory)
		if o.Program {
			x.LowerBoundProgram = float64(byProgram(nodes, fit))
		}
	}
	x.PerSecond = float64(x.Placed) / r.spent.Seconds()
	slices.Sort(r.took)
	x.P50, x.P99 = r.took[len(r.took)/2], r.took[min(len(r.took)-1, len(r.took)*99/100)]
	x.MaxRSS = maxRSS()
}

// sizesThatFit returns the pods that some node can hold when it is empty.
func (r *run) sizesThatFit(nodes []Node, o Options) (sizes []scheduler.Resources) {
	kinds := map[machine]bool{}
	for _, n := range nodes {
		kinds[machine{free: n.Capacity, capacity: n.Capacity, gpus: n.GPUs}] = true
	}
	for i := range r.pods {
		q := request{size: r.pods[i].Size}
		if o.GPUs {
			q.gpus = r.pods[i].GPUs
		}
		for m := range kinds {
			if m.fits(&q) {
				sizes = append(sizes, q.size)
				break
			}
		}
	}
	return sizes
}
