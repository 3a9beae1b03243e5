// SPDX-License-Identifier: Apache-2.0

//go:build traces

package simulate_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"husk/scheduler"
	"husk/simulate"
)

// traces is the directory of openb_nodes.csv, openb_pods.csv and azure_v1_dev.csv. They are not in
// the repository, so the test is only built with the tag traces.
const traces = "HUSK_TRACES"

// workload is one case: pods on nodes. The weights were chosen with the measurements of all cases
// together (docs/scheduling.md), so that no weight is fitted to one file.
type workload struct {
	name  string
	nodes []simulate.Node
	trace simulate.Trace
}

func equalNodes(cores, gib int) []simulate.Node {
	return slices.Repeat([]simulate.Node{{Capacity: scheduler.Resources{CPUMillis: cores * 1000, MemoryMiB: gib * 1024}}}, 3000)
}

func some(t simulate.Trace, keep func(i int) bool) simulate.Trace {
	o := simulate.Trace{Timed: t.Timed}
	for i, p := range t.Pods {
		if keep(i) {
			o.Pods = append(o.Pods, p)
		}
	}
	return o
}

// repeated repeats the pods without GPUs, and the pods with several GPUs, a random number of times
// with the given mean. The result resembles the other openb traces.
func repeated(t simulate.Trace, without, several float64) simulate.Trace {
	r := rand.New(rand.NewPCG(1, 9)) //nolint:gosec // the same for every run
	var o simulate.Trace
	for _, p := range t.Pods {
		times := 1.0
		switch {
		case p.GPUs == 0:
			times = without
		case p.GPUs > 1:
			times = several
		}
		for range int(times + r.Float64()) {
			o.Pods = append(o.Pods, p)
		}
	}
	return o
}

func shuffled(t simulate.Trace, seed uint64) simulate.Trace {
	o := simulate.Trace{Pods: slices.Clone(t.Pods)}
	rand.New(rand.NewPCG(seed, 7)).Shuffle(len(o.Pods), func(i, j int) { o.Pods[i], o.Pods[j] = o.Pods[j], o.Pods[i] }) //nolint:gosec // as above
	return o
}

func readTrace(t *testing.T, name string, static bool) simulate.Trace {
	t.Helper()
	file, err := os.Open(filepath.Join(os.Getenv(traces), name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	trace, err := simulate.ReadPods(name, file, static)
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

func staticWorkloads(t *testing.T) (all []workload) {
	t.Helper()
	file, err := os.Open(filepath.Join(os.Getenv(traces), "openb_nodes.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	own, err := simulate.ReadNodes("openb_nodes.csv", file)
	if err != nil {
		t.Fatal(err)
	}
	openb, azure := readTrace(t, "openb_pods.csv", true), readTrace(t, "azure_v1_dev.csv", true)
	reversed := simulate.Trace{Pods: slices.Clone(openb.Pods)}
	slices.Reverse(reversed.Pods)
	half := len(openb.Pods) / 2
	variants := []workload{
		{name: "openb", trace: openb},
		{name: "openb shuffled 0", trace: shuffled(openb, 0)},
		{name: "openb shuffled 1", trace: shuffled(openb, 1)},
		{name: "openb reversed", trace: reversed},
		{name: "openb first half", trace: some(openb, func(i int) bool { return i < half })},
		{name: "openb second half", trace: some(openb, func(i int) bool { return i >= half })},
		{name: "openb half without GPU", trace: repeated(openb, 0.5, 1)},
		{name: "openb 2.5 × without GPU", trace: repeated(openb, 2.5, 1)},
		{name: "openb 3 × many GPUs", trace: repeated(openb, 1, 3)},
	}
	for _, v := range variants {
		for _, gib := range []int{384, 768} {
			all = append(all, workload{fmt.Sprintf("%s, 128 cores %d GiB", v.name, gib), equalNodes(128, gib), v.trace})
		}
		all = append(all, workload{v.name + ", own nodes", own, v.trace})
	}
	for _, s := range [][2]int{{64, 256}, {64, 512}, {96, 384}, {96, 768}, {128, 512}, {192, 768}} {
		all = append(all, workload{fmt.Sprintf("openb, %d cores %d GiB", s[0], s[1]), equalNodes(s[0], s[1]), openb})
	}
	for _, from := range []int{0, 100_000, 200_000} {
		part := some(azure, func(i int) bool { return i >= from && i < from+10_000 })
		for _, s := range [][2]int{{32, 128}, {48, 192}, {64, 128}, {64, 160}, {128, 256}} {
			all = append(all, workload{fmt.Sprintf("azure 10,000 from %d, %d cores %d GiB", from, s[0], s[1]), equalNodes(s[0], s[1]), part})
		}
	}
	return all
}

func churnWorkloads(t *testing.T) []workload {
	t.Helper()
	azure := readTrace(t, "azure_v1_dev.csv", false)
	return []workload{
		{"azure churn, 64 cores 160 GiB", equalNodes(64, 160), azure},
		{"azure churn, first half, 64 cores 160 GiB", equalNodes(64, 160), some(azure, func(i int) bool { return i < 130_000 })},
		{"azure churn, second half, 64 cores 160 GiB", equalNodes(64, 160), some(azure, func(i int) bool { return i >= 130_000 })},
		{"azure churn, every second, 64 cores 160 GiB", equalNodes(64, 160), some(azure, func(i int) bool { return i%2 == 1 })},
		{"azure churn, every fourth, 32 cores 128 GiB", equalNodes(32, 128), some(azure, func(i int) bool { return i%4 == 1 })},
		{"azure churn, 48 cores 192 GiB", equalNodes(48, 192), azure},
		{"azure churn, 96 cores 160 GiB", equalNodes(96, 160), azure},
		{"azure churn, 128 cores 256 GiB", equalNodes(128, 256), azure},
	}
}

// On parts of the traces, in other orders and mixes, and on other nodes, Husk needs at most
// slightly more nodes than best fit, and does not leave additional pods unplaced.
func TestHuskNeedsNoMoreNodesThanBestFit(t *testing.T) {
	t.Parallel()
	run := func(w workload, o simulate.Options) simulate.Result {
		o.Params, o.Seed = scheduler.Default(), 1
		r, err := simulate.Run(w.nodes, w.trace, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	const tolerance = 1.004
	t.Logf("| %-44s | bound | best fit | Husk |", "static")
	for _, w := range staticWorkloads(t) {
		best, husk := run(w, simulate.Options{Policy: "best-fit"}), run(w, simulate.Options{Policy: "husk"})
		t.Logf("| %-44s | %.0f | %d | %d |", w.name, husk.LowerBound, best.NodesUsed, husk.NodesUsed)
		if husk.Unplaced > best.Unplaced || float64(husk.NodesUsed) > float64(best.NodesUsed)*tolerance {
			t.Errorf("%s: %d nodes and %d unplaced, best fit %d and %d", w.name, husk.NodesUsed, husk.Unplaced, best.NodesUsed, best.Unplaced)
		}
	}
	t.Logf("| %-44s | best fit | Husk | perfect hints | noisy hints |", "churn, mean nodes over bound")
	for _, w := range churnWorkloads(t) {
		best := run(w, simulate.Options{Policy: "best-fit"}).NodesMean
		var over [3]float64
		var bound float64
		for i, hints := range []string{"none", "perfect", "noisy"} {
			r := run(w, simulate.Options{Policy: "husk", Hints: hints})
			bound = r.LowerBound
			if over[i] = r.NodesMean / bound; r.NodesMean > best {
				t.Errorf("%s, hints %s: %.1f nodes on average, best fit %.1f", w.name, hints, r.NodesMean, best)
			}
		}
		t.Logf("| %-44s | %.4f | %.4f | %.4f | %.4f |", w.name, best/bound, over[0], over[1], over[2])
	}
}
