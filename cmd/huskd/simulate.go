// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"husk/scheduler"
	"husk/simulate"
)

type simulation struct {
	nodes, pods, svg string
	static, json     bool
	resources        []string
	limit            int
	options          simulate.Options
}

func simulateCommand() *cobra.Command {
	s := simulation{options: simulate.Options{Params: scheduler.Default(), Program: true}}
	p := &s.options.Params
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Pack a recorded workload with Husk's rules or another scheduler's, and measure density and speed",
		Long: `Pack a recorded workload with Husk's rules or another scheduler's, and measure density and speed.

Both files are CSV with a header. Columns are found by name, and unknown columns are ignored.
  nodes: cpu_milli,memory_mib[,count][,name or sn][,gpu][,model][,pool]
  pods:  cpu_milli,memory_mib[,arrival_s][,duration_s][,num_gpu][,name]
Without times, or with --static, the pods arrive in the order of the file and stay. With times, arrivals and departures are replayed.
Then nodes_used_mean and lower_bound are weighted by time, from the first arrival to the last.`,
		Example: `  huskd simulate --nodes nodes.csv --pods pods.csv --static
  huskd simulate --nodes nodes.csv --pods pods.csv --policy best-fit --json
  huskd simulate --nodes nodes.csv --pods pods.csv --hints noisy --svg packing.svg`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if with := scheduler.WithMoves(); s.options.MakeRoom > 0 {
				if !cmd.Flags().Changed("scarcity") {
					p.Scarcity = with.Scarcity
				}
				if !cmd.Flags().Changed("reserve") {
					p.Reserve = with.Reserve
				}
			}
			return s.run(cmd)
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.nodes, "nodes", "", "CSV file of nodes")
	f.StringVar(&s.pods, "pods", "", "CSV file of pods")
	f.StringVar(&s.options.Policy, "policy", "husk", strings.Join(simulate.Policies(), ", "))
	f.BoolVar(&s.json, "json", false, "print the result as JSON")
	f.StringVar(&s.svg, "svg", "", "file for an SVG picture of the packing")
	f.BoolVar(&s.static, "static", false, "ignore times: pods arrive in the order of the file and stay")
	f.IntVar(&s.options.Batch, "batch", 1, "number of arrivals that are placed together")
	f.StringSliceVar(&s.resources, "resources", []string{"cpu", "memory"}, "cpu,memory or cpu,memory,gpu")
	f.StringVar(&s.options.Hints, "hints", "none", "hints about lifetimes that the scheduler gets: none, perfect, or noisy (wrong by a factor of two, randomly up or down)")
	f.IntVar(&s.limit, "limit", 0, "number of pods to read from the file; 0 is all")
	f.Uint64Var(&s.options.Seed, "seed", 1, "seed of the noise in the hints")
	f.Float64Var(&s.options.MovesPerPodHour, "moves-per-pod-hour", 0, "budget of moves that empty nodes, per hour that a pod runs; only Husk moves pods")
	f.IntVar(&s.options.MakeRoom, "make-room", scheduler.MovesForPod, "number of running pods that may move so that one pod fits that would be refused; only Husk moves pods. With 0, --scarcity is 8 and --reserve 0.0225 unless they are set, as in a server that moves none")
	f.Float64Var(&p.OpeningCharge, "opening-charge", p.OpeningCharge, "Husk's rule: an empty node is opened early if it strands less capacity than the best open node by more than this much, in nodes")
	f.Float64Var(&p.OpeningSlack, "opening-slack", p.OpeningSlack, "Husk's rule: a node is opened early only if the usable free capacity of the open nodes is at most this many times the square root of their number, in nodes")
	f.Float64Var(&p.AgeWeight, "age-weight", p.AgeWeight, "Husk's rule: bonus per doubling of a node's age")
	f.Float64Var(&p.TimeWeight, "time-weight", p.TimeWeight, "Husk's rule: price of keeping a node open for a pod with a known lifetime")
	f.Float64Var(&p.GapWeight, "gap-weight", p.GapWeight, "Husk's rule: price of a pod that ends before its node")
	f.Float64Var(&p.Scarcity, "scarcity", p.Scarcity, "Husk's rule: how strongly nodes of a scarce size are spared; with 0, the largest nodes are used first")
	f.Float64Var(&p.Reserve, "reserve", p.Reserve, "Husk's rule: for each node size, how many nodes of at least that size are kept empty, as a share of all nodes")
	f.IntVar(&p.Looks, "looks", p.Looks, "Husk's rule: how many nodes are compared")
	f.IntVar(&p.LooksWithLifetime, "looks-with-lifetime", p.LooksWithLifetime, "Husk's rule: how many nodes are compared for a pod with a known lifetime")
	return cmd
}

func (s *simulation) run(cmd *cobra.Command) error {
	if err := errors.Join(required(cmd, "nodes", "pods"), s.check()); err != nil {
		return err
	}
	nodes, trace, err := s.read()
	if err != nil {
		return err
	}
	result, err := simulate.Run(nodes, trace, s.options)
	if err != nil {
		return err
	}
	if s.svg != "" {
		if err := s.draw(nodes, trace, result); err != nil {
			return err
		}
	}
	if s.json {
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "  ")
		return e.Encode(result)
	}
	return s.print(cmd.OutOrStdout(), trace, result)
}

func (s *simulation) check() error {
	var errs []error
	if !slices.Contains(simulate.Policies(), s.options.Policy) {
		errs = append(errs, fmt.Errorf("--policy: %q is not one of %s", s.options.Policy, strings.Join(simulate.Policies(), ", ")))
	}
	if !slices.Contains([]string{"none", "perfect", "noisy"}, s.options.Hints) {
		errs = append(errs, fmt.Errorf("--hints: %q is not none, perfect or noisy", s.options.Hints))
	}
	if s.options.Batch < 1 {
		errs = append(errs, fmt.Errorf("--batch: %d is less than 1", s.options.Batch))
	}
	if s.limit < 0 {
		errs = append(errs, fmt.Errorf("--limit: %d is negative", s.limit))
	}
	if !(s.options.MovesPerPodHour >= 0) {
		errs = append(errs, fmt.Errorf("--moves-per-pod-hour: %g is negative", s.options.MovesPerPodHour))
	}
	if s.options.MakeRoom < 0 {
		errs = append(errs, fmt.Errorf("--make-room: %d is negative", s.options.MakeRoom))
	}
	switch strings.Join(s.resources, ",") {
	case "cpu,memory":
	case "cpu,memory,gpu":
		s.options.GPUs = true
	default:
		errs = append(errs, fmt.Errorf("--resources: %q is not cpu,memory or cpu,memory,gpu", strings.Join(s.resources, ",")))
	}
	return errors.Join(errs...)
}

func (s *simulation) read() ([]simulate.Node, simulate.Trace, error) {
	nodesFile, err := os.Open(s.nodes)
	if err != nil {
		return nil, simulate.Trace{}, fmt.Errorf("--nodes: %w", err)
	}
	defer nodesFile.Close()
	podsFile, err := os.Open(s.pods)
	if err != nil {
		return nil, simulate.Trace{}, fmt.Errorf("--pods: %w", err)
	}
	defer podsFile.Close()
	nodes, err := simulate.ReadNodes(s.nodes, nodesFile)
	if err != nil {
		return nil, simulate.Trace{}, err
	}
	trace, err := simulate.ReadPods(s.pods, podsFile, s.static)
	if err != nil {
		return nil, simulate.Trace{}, err
	}
	if s.limit > 0 && s.limit < len(trace.Pods) {
		trace.Pods = trace.Pods[:s.limit]
	}
	return nodes, trace, nil
}

func (s *simulation) draw(nodes []simulate.Node, trace simulate.Trace, result simulate.Result) error {
	file, err := os.Create(s.svg)
	if err != nil {
		return fmt.Errorf("--svg: %w", err)
	}
	return errors.Join(simulate.Picture(file, nodes, trace.Pods, result), file.Close())
}

func (s *simulation) print(w io.Writer, trace simulate.Trace, r simulate.Result) error {
	rows := []struct{ name, value string }{
		{"policy", r.Policy},
		{"placed", fmt.Sprint(r.Placed)},
		{"unplaced", fmt.Sprintf("%d, of which %d fit on no node, not even on an empty one", r.Unplaced, r.TooLarge)},
		{"nodes used", fmt.Sprintf("%d, at most %d at a time", r.NodesUsed, r.NodesPeak)},
	}
	if trace.Timed {
		rows = append(rows, []struct{ name, value string }{
			{"while pods arrive", fmt.Sprintf("%.1f nodes on average, lower bound %.1f, ratio %.4f", r.NodesMean, r.LowerBound, r.NodesMean/r.LowerBound)},
			{"until all have ended", fmt.Sprintf("%.1f nodes on average, lower bound %.1f, ratio %.4f", r.NodesMeanToEnd, r.LowerBoundToEnd, r.NodesMeanToEnd/r.LowerBoundToEnd)},
		}...)
	} else {
		rows = append(rows, struct{ name, value string }{"lower bound", fmt.Sprintf("%.0f nodes (cpu alone %.0f, memory alone %.0f)", r.LowerBound, r.BoundCPU, r.BoundMemory)})
		if r.LowerBoundProgram > 0 {
			rows = append(rows, struct{ name, value string }{"lower bound by program", fmt.Sprintf("%.0f nodes", r.LowerBoundProgram)})
		}
	}
	if r.Moves > 0 || r.MadeRoom > 0 {
		rows = append(rows, struct{ name, value string }{"moves", fmt.Sprintf("%d to empty nodes, %d to free capacity for %d pods; %.4f per pod and hour, %d GiB of memory", r.Moves, r.MovesForRoom, r.MadeRoom, r.MovesPerPodHour, r.MovedMiB/1024)})
	}
	rows = append(rows, []struct{ name, value string }{
		{"free on used nodes", fmt.Sprintf("%d millis, %d MiB", r.StrandedCPU, r.StrandedMemory)},
		{"placements per second", fmt.Sprintf("%.0f", r.PerSecond)},
		{"time per decision", fmt.Sprintf("%.2f µs, 99th percentile %.2f µs", r.P50, r.P99)},
		{"memory", fmt.Sprintf("%.0f MiB", r.MaxRSS)},
	}...)
	for _, row := range rows {
		if _, err := fmt.Fprintf(w, "%-22s %s\n", row.name, row.value); err != nil {
			return err
		}
	}
	return nil
}
