// SPDX-License-Identifier: Apache-2.0

// Package top measures what pods use, and prints it.
package top

import (
	"context"
	"errors"
	"fmt"
	"time"

	"husk/cli/kind"
	"husk/cli/print"
	"husk/cli/terminal"
	"husk/client"
	"husk/openapi"
)

// Use is what a pod used between two samples.
type Use struct {
	Pod       string           `json:"pod"`
	Stats     openapi.PodStats `json:"stats"`
	CPUMillis int              `json:"cpuMillis"` // of the whole pod, averaged over a second
	// ContainersCPUMillis has the cpu use of each container, by name.
	ContainersCPUMillis map[string]int `json:"containersCpuMillis"`
}

// pause is the time between the two samples that a rate needs.
const pause = time.Second

// Measure samples each pod twice. If a pod does not respond, it returns the use of the others together with an error.
func Measure(ctx context.Context, c *client.Client, which []openapi.Pod) ([]Use, error) {
	var failed error
	sample := func() map[string]openapi.PodStats {
		seen := map[string]openapi.PodStats{}
		for _, pod := range which {
			s, err := c.Pods.Stats(ctx, pod.ID)
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", kind.Pods.Ref(pod), err))
				continue
			}
			seen[pod.Name] = s
		}
		return seen
	}
	before := sample()
	if len(before) == 0 || failed != nil && ctx.Err() != nil {
		return nil, failed
	}
	failed = nil
	if err := terminal.Pause(ctx, pause); err != nil {
		return nil, err
	}
	after := sample()
	var uses []Use
	for _, pod := range which {
		first, ok1 := before[pod.Name]
		then, ok2 := after[pod.Name]
		if ok1 && ok2 {
			uses = append(uses, useOf(pod.Name, first, then))
		}
	}
	return uses, failed
}

func useOf(name string, first, then openapi.PodStats) Use {
	u := Use{Pod: name, Stats: then, ContainersCPUMillis: map[string]int{}}
	micros := then.At.Sub(first.At).Microseconds()
	rate := func(a, b int64) int {
		if b < a || micros <= 0 || first.BootID != then.BootID {
			return 0 // it was restarted between the samples
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

// Show prints the use of pods.
func Show(p print.Printer, uses []Use) error {
	if printed, err := print.List(p, uses); printed {
		return err
	}
	var rows [][]string
	if !p.NoHeaders {
		rows = append(rows, []string{"POD", "CONTAINER", "CPU", "MEMORY", "CACHE", "PROCESSES"})
	}
	for _, u := range uses {
		m := u.Stats.Pod
		rows = append(rows, []string{
			print.Clean(u.Pod), "", fmt.Sprintf("%dm", u.CPUMillis), print.Mebibytes(m.MemoryTotalBytes - m.MemoryAvailableBytes), print.Mebibytes(m.MemoryCachedBytes), "",
		})
		for _, c := range u.Stats.Containers {
			rows = append(rows, []string{
				print.Clean(u.Pod), print.Clean(c.Name), fmt.Sprintf("%dm", u.ContainersCPUMillis[c.Name]), print.Mebibytes(c.MemoryBytes),
				print.Mebibytes(c.MemoryCachedBytes), fmt.Sprint(c.Processes),
			})
		}
	}
	return p.Table().Rows(rows...)
}

// ShowHistory prints what a pod has used, minute by minute.
func ShowHistory(p print.Printer, points []openapi.StatsPoint) error {
	if printed, err := print.List(p, points); printed {
		return err
	}
	var rows [][]string
	if !p.NoHeaders {
		rows = append(rows, []string{"UNTIL", "CPU", "MEMORY", "RECEIVED", "SENT", "READ", "WRITTEN"})
	}
	perSecond := func(n int64) string { return fmt.Sprintf("%.1fKi/s", float64(n)/(1<<10)) }
	for _, s := range points {
		memory := "-" // the pod did not respond
		if s.MemoryUsedBytes != nil {
			memory = print.Mebibytes(*s.MemoryUsedBytes)
		}
		rows = append(rows, []string{
			print.Time(&s.At), fmt.Sprintf("%dm", s.CPUMillis), memory, perSecond(s.RxBytesPerSecond), perSecond(s.TxBytesPerSecond), perSecond(s.ReadBytesPerSecond),
			perSecond(s.WriteBytesPerSecond),
		})
	}
	return p.Table().Rows(rows...)
}
