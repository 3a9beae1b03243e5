package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"husk/openapi"
)

// use is a pod or one of its containers, between two looks.
type use struct {
	Pod       string           `json:"pod"`
	Stats     openapi.PodStats `json:"stats"`
	CPUMillis int              `json:"cpuMillis"` // of the whole pod, on the average of a second
	// ContainersCPUMillis are those of the containers, by name.
	ContainersCPUMillis map[string]int `json:"containersCpuMillis"`
}

func topCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top [POD…]",
		Short: "Show what pods use at the moment, as they see it themselves",
		Long: `Show processor and memory of pods that run, all without arguments, and of each
of their containers. A pod's own line is its whole machine, kernel included. The
processor is an average over a second.`,
		Example: `  husk top
  husk top web db -o json`,
		ValidArgsFunction: a.completeNames("pod"),
	}
	output := a.outputFlags(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if p.format == "name" {
			return usagef("--output: statistics have no name")
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		var which []openapi.Pod
		for _, name := range args {
			pod, err := findPod(cmd.Context(), c, bare("pod", name))
			if err != nil {
				return err
			}
			which = append(which, pod)
		}
		if len(args) == 0 {
			all, err := pods.list(cmd.Context(), c, query{})
			if err != nil {
				return err
			}
			for _, pod := range all {
				if pod.Status.Phase == openapi.PodPhaseRunning {
					which = append(which, pod)
				}
			}
		}
		uses, failed := measure(cmd.Context(), c, which)
		return errors.Join(showUses(p, uses), failed)
	}
	return cmd
}

// topPause is the time between the two looks that a rate needs.
const topPause = time.Second

// measure looks at each pod twice. A pod that does not answer is an error beside the others.
func measure(ctx context.Context, c *openapi.Client, which []openapi.Pod) ([]use, error) {
	var failed error
	look := func() map[string]openapi.PodStats {
		seen := map[string]openapi.PodStats{}
		for _, pod := range which {
			s, err := answer[openapi.PodStats](c.GetPodStats(ctx, pod.ID))
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", podView.ref(pod), err))
				continue
			}
			seen[pod.Name] = s
		}
		return seen
	}
	before := look()
	if len(before) == 0 || failed != nil && ctx.Err() != nil {
		return nil, failed
	}
	failed = nil
	if err := wait(ctx, topPause); err != nil {
		return nil, err
	}
	after := look()
	var uses []use
	for _, pod := range which {
		first, ok1 := before[pod.Name]
		then, ok2 := after[pod.Name]
		if ok1 && ok2 {
			uses = append(uses, useOf(pod.Name, first, then))
		}
	}
	return uses, failed
}

func useOf(name string, first, then openapi.PodStats) use {
	u := use{Pod: name, Stats: then, ContainersCPUMillis: map[string]int{}}
	micros := then.At.Sub(first.At).Microseconds()
	rate := func(a, b int64) int {
		if b < a || micros <= 0 || first.BootID != then.BootID {
			return 0 // it was started anew in between
		}
		return int((b - a) * 1000 / micros)
	}
	u.CPUMillis = rate(first.Pod.CPUMicros, then.Pod.CPUMicros)
	for _, c := range then.Containers {
		for _, b := range first.Containers {
			if b.Name == c.Name {
				u.ContainersCPUMillis[c.Name] = rate(b.CPUMicros, c.CPUMicros)
			}
		}
	}
	return u
}

func showUses(p printer, uses []use) error {
	switch p.format {
	case "json":
		return writeJSON(p.out, map[string]any{"items": notNil(uses)})
	case "yaml":
		return writeYAML(p.out, map[string]any{"items": notNil(uses)})
	}
	var rows [][]string
	if !p.noHeaders {
		rows = append(rows, []string{"POD", "CONTAINER", "CPU", "MEMORY", "CACHE", "PROCESSES"})
	}
	for _, u := range uses {
		m := u.Stats.Pod
		rows = append(rows, []string{
			clean(u.Pod), "", fmt.Sprintf("%dm", u.CPUMillis), mebibytes(m.MemoryTotalBytes - m.MemoryAvailableBytes), mebibytes(m.MemoryCachedBytes), "",
		})
		for _, c := range u.Stats.Containers {
			rows = append(rows, []string{
				clean(u.Pod), clean(c.Name), fmt.Sprintf("%dm", u.ContainersCPUMillis[c.Name]), mebibytes(c.MemoryBytes), mebibytes(c.MemoryCachedBytes), fmt.Sprint(c.Processes),
			})
		}
	}
	return p.table().rows(rows...)
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1fMi", float64(n)/(1<<20)) }
