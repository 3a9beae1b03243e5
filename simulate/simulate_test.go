// SPDX-License-Identifier: Apache-2.0

package simulate_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk/scheduler"
	"husk/simulate"
)

func sample(t *testing.T, static bool) ([]simulate.Node, simulate.Trace) {
	t.Helper()
	n, err := os.Open("testdata/nodes.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	p, err := os.Open("testdata/pods.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	nodes, err := simulate.ReadNodes("nodes.csv", n)
	if err != nil {
		t.Fatal(err)
	}
	trace, err := simulate.ReadPods("pods.csv", p, static)
	if err != nil {
		t.Fatal(err)
	}
	return nodes, trace
}

// No policy overcommits a node or uses fewer nodes than the lower bound, with and without times,
// and for single pods and batches.
func TestEveryPolicyPacksWithinCapacity(t *testing.T) {
	t.Parallel()
	for _, static := range []bool{true, false} {
		nodes, trace := sample(t, static)
		for _, policy := range simulate.Policies() {
			for _, o := range []simulate.Options{{Batch: 1}, {Batch: 7, Hints: "perfect"}, {Batch: 1, Hints: "noisy"}} {
				o.Policy, o.Params = policy, scheduler.Default()
				r, err := simulate.Run(nodes, trace, o)
				if err != nil {
					t.Fatal(err)
				}
				if r.Placed+r.Unplaced != len(trace.Pods) || !static && r.Unplaced > 0 {
					t.Errorf("%s: placed %d and did not place %d of %d", policy, r.Placed, r.Unplaced, len(trace.Pods))
				}
				if r.Unplaced == 0 && r.NodesMean < r.LowerBound-1e-9 || r.NodesPeak > r.NodesUsed {
					t.Errorf("%s: %.2f nodes on average, at least %.2f; peak %d of %d", policy, r.NodesMean, r.LowerBound, r.NodesPeak, r.NodesUsed)
				}
				used := make([]scheduler.Resources, len(nodes))
				for id, on := range r.On {
					if on >= 0 {
						used[on].CPUMillis += trace.Pods[id].Size.CPUMillis
						used[on].MemoryMiB += trace.Pods[id].Size.MemoryMiB
					}
				}
				for i, u := range used {
					if u.CPUMillis > nodes[i].Capacity.CPUMillis || u.MemoryMiB > nodes[i].Capacity.MemoryMiB {
						t.Fatalf("%s places %+v on a node with %+v", policy, u, nodes[i].Capacity)
					}
				}
			}
		}
	}
}

func TestHuskIsNoWorseThanBestFitWithAnyParameters(t *testing.T) {
	t.Parallel()
	nodes, trace := sample(t, false)
	run := func(o simulate.Options) float64 {
		r, err := simulate.Run(nodes, trace, o)
		if err != nil {
			t.Fatal(err)
		}
		return r.NodesMean
	}
	best := run(simulate.Options{Policy: "best-fit"})
	for _, factor := range []float64{0.1, 1, 10} {
		for name, change := range map[string]func(*scheduler.Params){
			"opening charge": func(p *scheduler.Params) { p.OpeningCharge *= factor },
			"opening slack":  func(p *scheduler.Params) { p.OpeningSlack *= factor },
			"age weight":     func(p *scheduler.Params) { p.AgeWeight *= factor },
			"scarcity":       func(p *scheduler.Params) { p.Scarcity *= factor },
			"reserve":        func(p *scheduler.Params) { p.Reserve *= factor },
			"time weight":    func(p *scheduler.Params) { p.TimeWeight *= factor },
			"gap weight":     func(p *scheduler.Params) { p.GapWeight *= factor },
			"looks":          func(p *scheduler.Params) { p.Looks = max(1, int(float64(p.Looks)*factor)) },
		} {
			p := scheduler.Default()
			change(&p)
			if got := run(simulate.Options{Policy: "husk", Params: p}); got > best*1.015 { // a tolerance, because the trace has only 24 nodes
				t.Errorf("%s times %g: %.3f nodes on average, best fit %.3f", name, factor, got, best)
			}
			if got := run(simulate.Options{Policy: "husk", Hints: "perfect", Params: p}); got > best*1.015 {
				t.Errorf("%s times %g, with hints: %.3f nodes on average, best fit %.3f", name, factor, got, best)
			}
		}
	}
}

// Three of four pods of every node end soon. Moves bring the others together.
func TestMovesEmptyNodesWithinTheirBudget(t *testing.T) {
	t.Parallel()
	one := scheduler.Resources{CPUMillis: 1000, MemoryMiB: 1024}
	nodes := slices.Repeat([]simulate.Node{{Capacity: scheduler.Resources{CPUMillis: 4000, MemoryMiB: 4096}}}, 20)
	trace := simulate.Trace{Timed: true}
	for i := range 32 {
		p := simulate.Pod{Size: one, Arrival: float64(i), Duration: 100}
		if i%4 == 0 {
			p.Duration = 100_000
		}
		trace.Pods = append(trace.Pods, p)
	}
	for hour := range 10 {
		trace.Pods = append(trace.Pods, simulate.Pod{Size: one, Arrival: float64(hour+1) * 3600, Duration: 60})
	}
	run := func(budget float64) simulate.Result {
		r, err := simulate.Run(nodes, trace, simulate.Options{Policy: "husk", Params: scheduler.Default(), MovesPerPodHour: budget})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	without, with := run(0), run(0.2)
	if without.Moves != 0 || with.Moves == 0 || with.MovesPerPodHour > 0.2 {
		t.Errorf("%d moves without a budget, %d with one, %.4f per pod and hour", without.Moves, with.Moves, with.MovesPerPodHour)
	}
	if with.NodesMean > without.NodesMean/2 {
		t.Errorf("%.3f nodes on average with moves, %.3f without", with.NodesMean, without.NodesMean)
	}
}

func TestMovesMakeRoom(t *testing.T) {
	t.Parallel()
	size := func(cores int) scheduler.Resources {
		return scheduler.Resources{CPUMillis: cores * 1000, MemoryMiB: cores * 1024}
	}
	nodes := []simulate.Node{{Capacity: size(4)}, {Capacity: size(4)}}
	trace := simulate.Trace{Pods: []simulate.Pod{{Size: size(3)}, {Size: size(3)}, {Size: size(1)}, {Size: size(1)}}}
	trace.Pods[0].Duration, trace.Pods[1].Duration = 10, 10
	trace.Timed = true
	for i := range trace.Pods {
		if trace.Pods[i].Arrival = float64(i); i > 1 {
			trace.Pods[i].Duration = math.Inf(1)
		}
	}
	trace.Pods = append(trace.Pods, simulate.Pod{Size: size(4), Arrival: 20, Duration: math.Inf(1)})
	for moves, want := range map[int]int{0: 1, 1: 0} {
		r, err := simulate.Run(nodes, trace, simulate.Options{Policy: "husk", Params: scheduler.Default(), MakeRoom: moves})
		if err != nil {
			t.Fatal(err)
		}
		if r.Unplaced != want || r.MovesForRoom != 1-want || r.MadeRoom != 1-want {
			t.Errorf("with %d moves: %d unplaced, %d moves for %d pods", moves, r.Unplaced, r.MovesForRoom, r.MadeRoom)
		}
	}
}

func TestTheNamesInJSONAreStable(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(simulate.Result{})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"placed", "unplaced", "nodes_used", "nodes_used_peak", "nodes_used_mean", "lower_bound", "placements_per_second",
		"decision_p50_us", "decision_p99_us", "max_rss_mib",
	} {
		if _, has := got[name]; !has {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestAPictureIsSmallAndWellFormed(t *testing.T) {
	t.Parallel()
	nodes, trace := sample(t, true)
	r, err := simulate.Run(nodes, trace, simulate.Options{Policy: "husk", Params: scheduler.Default()})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := simulate.Picture(&out, nodes, trace.Pods, r); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 200_000 {
		t.Errorf("%d bytes", out.Len())
	}
	for d := xml.NewDecoder(&out); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPodWithTimesIsReplayed(t *testing.T) {
	t.Parallel()
	nodes, err := simulate.ReadNodes("n", strings.NewReader("memory_mib,sn,cpu_milli,gpu\n100,a,1000,1\n"))
	if err != nil {
		t.Fatal(err)
	}
	// The second pod arrives when the first has ended. The third does not wait for another pod.
	trace, err := simulate.ReadPods("p", strings.NewReader("cpu_milli,memory_mib,num_gpu,creation_time,deletion_time\n1000,100,0,0,10\n1000,100,0,10,20\n1000,100,0,15,30\n"), false)
	if err != nil {
		t.Fatal(err)
	}
	r, err := simulate.Run(nodes, trace, simulate.Options{Policy: "husk", Params: scheduler.Default()})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{2, 1, 1}, []int{r.Placed, r.Unplaced, r.NodesUsed}); diff != "" {
		t.Errorf("placed, unplaced, used (-want +got):\n%s", diff)
	}
}

func TestGPUsAreConsideredIfRequested(t *testing.T) {
	t.Parallel()
	nodes := []simulate.Node{{Capacity: scheduler.Resources{CPUMillis: 9000, MemoryMiB: 9000}}, {Capacity: scheduler.Resources{CPUMillis: 9000, MemoryMiB: 9000}, GPUs: 1}}
	trace := simulate.Trace{Pods: []simulate.Pod{{Size: scheduler.Resources{CPUMillis: 1, MemoryMiB: 1}, GPUs: 1}, {Size: scheduler.Resources{CPUMillis: 1, MemoryMiB: 1}, GPUs: 1}}}
	for _, policy := range simulate.Policies() {
		r, err := simulate.Run(nodes, trace, simulate.Options{Policy: policy, GPUs: true, Params: scheduler.Default()})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int32{1, -1}, r.On); diff != "" {
			t.Errorf("%s (-want +got):\n%s", policy, diff)
		}
	}
}

func TestErrorsInAFileHaveTheirPosition(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"":                                         "x.csv: the file is empty; its first line must name the columns, at least cpu_milli,memory_mib",
		"cpu_milli\n1\n":                           `x.csv: line 1: missing column "memory_mib"; add it to the header and a value to each line`,
		"cpu_milli,cpu_milli,memory_mib\n":         `x.csv: line 1: duplicate column "cpu_milli"; remove one`,
		"cpu_milli,memory_mib\n1,2\n3,lots\n":      `x.csv: line 3, column memory_mib: "lots" is not a number from 0 to 1099511627776; correct the value or remove the line`,
		"cpu_milli,memory_mib\n1,-2\n":             `x.csv: line 2, column memory_mib: "-2" is not a number from 0 to 1099511627776; correct the value or remove the line`,
		"cpu_milli,memory_mib\n,2\n":               `x.csv: line 2, column cpu_milli: "" is not a number from 0 to 1099511627776; correct the value or remove the line`,
		"cpu_milli,memory_mib\n1\n":                "x.csv: record on line 2: wrong number of fields; every line needs as many values as the header",
		"cpu_milli,memory_mib,duration_s\n1,2,x\n": `x.csv: line 2, column duration_s: "x" is not a time in seconds, 0 or more; correct the value or remove the line`,
		"cpu_milli,memory_mib\n":                   "x.csv: no pods after the header",
	} {
		_, err := simulate.ReadPods("x.csv", strings.NewReader(content), false)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", content, diff)
		}
	}
}

// For any file, reading it returns either pods that can be simulated or an error with the name of
// the file.
func FuzzFiles(f *testing.F) {
	f.Add("cpu_milli,memory_mib,count\n1000,1000,3\n", "cpu_milli,memory_mib,arrival_s,duration_s\n10,20,1,2\n5,5,0,\n")
	f.Add("sn,cpu_milli,memory_mib,gpu,model\na,1,1,1,x\n", "name,cpu_milli,memory_mib,num_gpu,creation_time,deletion_time\np,1,1,1,5,3\n")
	f.Fuzz(func(t *testing.T, nodesFile, podsFile string) {
		nodes, err := simulate.ReadNodes("n.csv", strings.NewReader(nodesFile))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "n.csv") {
				t.Fatalf("%q does not name the file", err)
			}
			return
		}
		trace, err := simulate.ReadPods("p.csv", strings.NewReader(podsFile), false)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "p.csv") {
				t.Fatalf("%q does not name the file", err)
			}
			return
		}
		if len(nodes) > 1000 {
			return
		}
		r, err := simulate.Run(nodes, trace, simulate.Options{Policy: "husk", GPUs: true, Params: scheduler.Default()})
		if err != nil || r.Placed+r.Unplaced != len(trace.Pods) {
			t.Fatalf("%v, placed %d, unplaced %d of %d", err, r.Placed, r.Unplaced, len(trace.Pods))
		}
	})
}
