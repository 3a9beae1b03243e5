// SPDX-License-Identifier: Apache-2.0

package scheduler_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"husk/scheduler"
)

// randomPod returns a pod with half a core to 16 cores, and 1 to 8 GiB for each core.
func randomPod(r *rand.Rand) scheduler.Pod {
	cpu := []int{500, 1000, 2000, 3000, 4000, 8000, 16_000}[r.IntN(7)]
	return scheduler.Pod{Size: scheduler.Resources{CPUMillis: cpu, MemoryMiB: cpu * (1 + r.IntN(8)) * 1024 / 1000}}
}

// filled returns a fleet with three kinds of nodes. It is 70 % full in the scarcer resource.
func filled(n int, labelled bool) (f *scheduler.Fleet, running []scheduler.Handle) {
	r := rand.New(rand.NewPCG(1, 2))
	nodes := make([]scheduler.Node, n)
	for i := range nodes {
		kind := scheduler.Resources{CPUMillis: []int{64_000, 96_000, 128_000}[i%3], MemoryMiB: []int{262_144, 393_216, 786_432}[i%3]}
		nodes[i] = scheduler.Node{ID: fmt.Sprintf("%06d", i), Ready: true, Capacity: kind, Overhead: scheduler.Resources{MemoryMiB: 64}}
		if labelled {
			nodes[i].Labels = map[string]string{"zone": fmt.Sprint(i % 3), "rack": fmt.Sprint(i / 40), "disk": []string{"nvme", "ssd", "none"}[r.IntN(3)]}
		}
	}
	f = scheduler.NewFleet(nodes, scheduler.Default())
	// Place pods on random nodes until the cluster is 70 % full. After a long time, the pods of a
	// real cluster are distributed like this.
	want, have := 0.7*float64(n)*96_000, 0.0
	for have < want {
		p := randomPod(r)
		if h, ok := f.PlaceOn(r.IntN(n), &p); ok {
			running = append(running, h)
			have += float64(p.Size.CPUMillis)
		}
	}
	return f, running
}

// BenchmarkPlace replaces a random running pod by a new one, so that the cluster stays equally
// full.
func BenchmarkPlace(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			f, running := filled(n, false)
			replace(b, f, running, func(r *rand.Rand, _ int) scheduler.Pod { return randomPod(r) })
		})
	}
}

// BenchmarkPlaceWithRules has labels on all nodes; 30 % of the pods have selectors, and 10 % have
// spread or anti-affinity rules.
func BenchmarkPlaceWithRules(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			f, running := filled(n, true)
			replace(b, f, running, func(r *rand.Rand, i int) scheduler.Pod {
				p := randomPod(r)
				switch k := r.IntN(20); {
				case k < 6:
					p.Selector = map[string]string{"disk": "nvme"}
				case k == 6:
					p.Groups = []string{fmt.Sprint("apart-", i/20)}
					p.Rules = []scheduler.Rule{{Kind: scheduler.Apart, Group: p.Groups[0], Over: "rack"}}
				case k == 7:
					p.Groups = []string{fmt.Sprint("spread-", i/20)}
					p.Rules = []scheduler.Rule{{Kind: scheduler.Spread, Group: p.Groups[0], Over: "zone", MaxSkew: 1}}
				}
				return p
			})
		})
	}
}

// replace measures placements. The latencies do not include the time for releases, but ns/op does.
func replace(b *testing.B, f *scheduler.Fleet, running []scheduler.Handle, next func(*rand.Rand, int) scheduler.Pod) {
	b.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	pods := make([]scheduler.Pod, 1<<16)
	for i := range pods {
		pods[i] = next(r, i)
	}
	took := make([]time.Duration, 0, 1<<20)
	placed := 0
	var spent time.Duration
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k := r.IntN(len(running))
		if running[k] != scheduler.Unplaced {
			f.Release(running[k])
		}
		start := time.Now()
		h, ok := f.Place(&pods[i%len(pods)])
		d := time.Since(start)
		spent += d
		if took = append(took, d); ok {
			placed++
		}
		running[k] = h
	}
	slices.Sort(took)
	b.ReportMetric(float64(placed)/spent.Seconds(), "placed/s")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1000, "p99-µs")
}

// BenchmarkFullScan is the baseline: best fit with a scan of all nodes of the same cluster.
func BenchmarkFullScan(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			f, _ := filled(n, false)
			free := make([]scheduler.Resources, n)
			for i := range free {
				free[i] = f.Free(i)
			}
			r := rand.New(rand.NewPCG(3, 4))
			placed := 0
			for b.Loop() {
				p := randomPod(r)
				best, least := -1, 0.0
				for i, x := range free {
					if x.CPUMillis < p.Size.CPUMillis || x.MemoryMiB < p.Size.MemoryMiB+64 {
						continue
					}
					left := max(float64(x.CPUMillis-p.Size.CPUMillis)/96_000, float64(x.MemoryMiB-p.Size.MemoryMiB-64)/480_597)
					if best < 0 || left < least {
						best, least = i, left
					}
				}
				if best >= 0 {
					placed++ // the placement is not recorded, so that the cluster stays equally full
				}
			}
			b.ReportMetric(float64(placed)/b.Elapsed().Seconds(), "placed/s")
		})
	}
}

// BenchmarkExplain explains why a pod does not fit on 9,999 nodes. One pod is too large for every
// node. Another one would fit on some nodes without their other pods.
func BenchmarkExplain(b *testing.B) {
	for _, x := range []struct {
		name string
		size scheduler.Resources
	}{
		{"too-large", scheduler.Resources{CPUMillis: 1000, MemoryMiB: 1 << 20}},
		{"what-would-make-room", scheduler.Resources{CPUMillis: 120_000, MemoryMiB: 700 << 10}},
	} {
		b.Run(x.name, func(b *testing.B) {
			f, _ := filled(9999, true)
			p := scheduler.Pod{Size: x.size}
			for b.Loop() {
				if _, ok := f.Place(&p); ok {
					b.Fatal("placed")
				}
				if r := f.Explain(&p); (r.MakeRoom.Node < 0) != r.NeverFits {
					b.Fatal(r)
				}
			}
		})
	}
}

// BenchmarkPreempt measures the choice of victims on 10,000 nodes.
func BenchmarkPreempt(b *testing.B) {
	f, _ := filled(10_000, false)
	p := scheduler.Pod{Size: scheduler.Resources{CPUMillis: 120_000, MemoryMiB: 700 << 10}, Priority: 1}
	for b.Loop() {
		made, ok := f.Preempt([]*scheduler.Pod{&p})
		if !ok || len(made.Victims) == 0 {
			b.Fatal("no pod is stopped")
		}
		b.StopTimer()
		f.Drop(made)
		f.Stay(made)
		b.StartTimer()
	}
}

// BenchmarkDefragment plans moves for a cluster of 1,000 nodes.
func BenchmarkDefragment(b *testing.B) {
	f, _ := filled(1000, false)
	for b.Loop() {
		if len(f.Defragment(1000, func(int) bool { return true })) == 0 {
			b.Fatal("no node can be drained")
		}
	}
}

// BenchmarkSnapshot measures the memory of 100,000 nodes with a million pods, and of a snapshot of
// them.
func BenchmarkSnapshot(b *testing.B) {
	const nodes, pods = 100_000, 1_000_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	list := make([]scheduler.Node, nodes)
	for i := range list {
		list[i] = scheduler.Node{ID: fmt.Sprintf("%06d", i), Ready: true, Capacity: scheduler.Resources{CPUMillis: 64_000, MemoryMiB: 262_144}}
	}
	f := scheduler.NewFleet(list, scheduler.Default())
	for i := range pods {
		p := scheduler.Pod{Size: scheduler.Resources{CPUMillis: 1000 + i%7*500, MemoryMiB: 2048 + i%5*1024}}
		f.Adopt(i%nodes, &p, float64(i))
	}
	runtime.KeepAlive(list) // so that its memory is counted too
	runtime.GC()
	runtime.ReadMemStats(&after)
	for b.Loop() {
		f.Clone()
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
}

// BenchmarkBatch places a thousand pods together on 10,000 nodes: equal pods, and different ones.
func BenchmarkBatch(b *testing.B) {
	for _, equal := range []bool{true, false} {
		b.Run(map[bool]string{true: "equal", false: "different"}[equal], func(b *testing.B) {
			f, _ := filled(10_000, false)
			r := rand.New(rand.NewPCG(5, 6))
			pods := make([]scheduler.Pod, 1000)
			for i := range pods {
				pods[i] = scheduler.Pod{Size: scheduler.Resources{CPUMillis: 1000, MemoryMiB: 2048}}
				if !equal {
					pods[i].Size = scheduler.Resources{CPUMillis: 500 + r.IntN(2000), MemoryMiB: 1024 + r.IntN(4096)}
				}
			}
			for b.Loop() {
				for _, h := range f.PlaceBatch(pods) {
					f.Release(h)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/pod")
		})
	}
}
