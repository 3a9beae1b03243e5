// SPDX-License-Identifier: Apache-2.0

package move

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
	"husk/openapi"
)

// Resize makes husk resize. names completes the names of pods.
func (m Command) Resize(names cobra.CompletionFunc) *cobra.Command {
	var cpus, memory string
	var wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "resize POD",
		Short: "Change the cpu and the memory of a pod, also while it runs",
		Long: `Change the cpu and the memory of a pod, also while it runs. Nothing restarts. If the
node of the pod has insufficient capacity, nothing changes. Less memory takes as
long as the pod needs to free it. A pod that runs never has less memory than it was
started with: it gets less at its next start. --wait then returns, and says so.`,
		Example: "  husk resize db --cpus 4 --memory 8g --wait",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: names,
	}
	cmd.Flags().StringVar(&cpus, "cpus", "", "cores, such as 0.5 or 500m")
	cmd.Flags().StringVarP(&memory, "memory", "m", "", "memory, such as 256m or 1g")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the pod has this size")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long --wait waits")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		size, err := sizeOf(cpus, memory)
		if err != nil {
			return err
		}
		c, err := m.Connect()
		if err != nil {
			return err
		}
		pod, err := c.Pods.Find(cmd.Context(), kind.Bare("pod", args[0]))
		if err != nil {
			return err
		}
		if pod, err = c.Pods.Resize(cmd.Context(), pod.ID, size, false); err != nil || !wait {
			return err
		}
		var at progressed
		err = m.Until(cmd.Context(), timeout, kind.Pods.Ref(pod), func() (bool, string, error) {
			now, err := c.Pods.Get(cmd.Context(), pod.ID)
			if err != nil || now.Status.Resources == nil && (now.Status.ObservedGeneration >= pod.Generation || !hasMachine(now)) {
				at = progressed{}
				return true, "resized", err
			}
			if now.Status.UnknownSince != nil { // what it has may be old
				at = progressed{}
				return false, openapi.Value(now.Status.Message), nil
			}
			has := now.Spec.Resources
			if now.Status.Resources != nil {
				has = *now.Status.Resources
			}
			at.look(has, now.Spec.Resources, time.Now())
			return at.rest != "", fmt.Sprintf("at %dm cpu and %d MiB", has.CPUMillis, has.MemoryMiB), nil
		})
		if err == nil && at.rest != "" {
			_, err = fmt.Fprintf(m.Out, "%s %s\n", kind.Pods.Ref(pod), at.rest)
		}
		return err
	}
	return cmd
}

// hasMachine reports whether a pod has a machine that may have another size. Others start with the size of their spec.
func hasMachine(p openapi.Pod) bool {
	return slices.Contains([]openapi.PodPhase{openapi.PodPhaseStarting, openapi.PodPhaseRunning, openapi.PodPhaseStopping}, p.Status.Phase)
}

// still is how long the size of a pod stays the same before --wait says what it has. An agent looks every 10 s at a machine that changes.
const still = 30 * time.Second

// progressed follows the size that a pod has.
type progressed struct {
	has   openapi.Resources
	since time.Time
	rest  string // what the pod has, and when it gets the rest; empty while that may still change
}

// look compares what the pod has now with what it had before, and with what it should have.
func (p *progressed) look(has, want openapi.Resources, now time.Time) {
	if has != p.has || p.since.IsZero() {
		p.has, p.since = has, now
	}
	if has == want || now.Sub(p.since) < still {
		return
	}
	p.rest = fmt.Sprintf("has %dm cpu and %d MiB now, and gets %dm cpu and %d MiB at its next start", has.CPUMillis, has.MemoryMiB, want.CPUMillis, want.MemoryMiB)
	if want.MemoryMiB < has.MemoryMiB {
		p.rest += ", or when it frees memory: while it runs, it never has less than it was started with"
	}
}

func sizeOf(cpus, memory string) (size openapi.PodResize, _ error) {
	if cpus == "" && memory == "" {
		return size, exit.Usagef("give --cpus, --memory or both")
	}
	if cpus != "" {
		millis, err := parse.CPU(cpus)
		if err != nil {
			return size, err
		}
		size.CPUMillis = &millis
	}
	if memory != "" {
		mib, err := parse.Size("--memory", memory, "Mi")
		if err != nil {
			return size, err
		}
		size.MemoryMiB = &mib
	}
	return size, nil
}
