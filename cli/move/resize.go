// SPDX-License-Identifier: Apache-2.0

package move

import (
	"fmt"
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
started with.`,
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
		if pod, err = c.Pods.Resize(cmd.Context(), pod.ID, size); err != nil || !wait {
			return err
		}
		return m.Until(cmd.Context(), timeout, kind.Pods.Ref(pod), func() (bool, string, error) {
			now, err := c.Pods.Get(cmd.Context(), pod.ID)
			if err != nil || now.Status.Resources == nil && now.Status.ObservedGeneration >= pod.Generation {
				return true, "resized", err
			}
			has := now.Spec.Resources
			if now.Status.Resources != nil {
				has = *now.Status.Resources
			}
			return false, fmt.Sprintf("at %dm cpu and %d MiB", has.CPUMillis, has.MemoryMiB), nil
		})
	}
	return cmd
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
