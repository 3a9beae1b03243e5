// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"husk/cli/kind"
	"husk/cli/top"
	"husk/client"
	"husk/openapi"
)

func topCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top [POD…]",
		Short: "Show the current CPU and memory use of pods",
		Long: `Show the CPU and memory use of running pods and of each of their containers, for
all pods if none is named. A pod's first line is for its whole virtual machine,
including the kernel. CPU use is averaged over a second.`,
		Example: `  husk top
  husk top web db -o json`,
		ValidArgsFunction: a.offers().Names("pod"),
	}
	output := a.outputFlags(cmd, "table", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		var which []openapi.Pod
		for _, name := range args {
			pod, err := kind.FindPod(cmd.Context(), c, name)
			if err != nil {
				return err
			}
			which = append(which, pod)
		}
		if len(args) == 0 {
			for pod, err := range c.Pods.List(cmd.Context(), client.Select{}) {
				if err != nil {
					return err
				}
				if pod.Status.Phase == openapi.PodPhaseRunning {
					which = append(which, pod)
				}
			}
		}
		uses, failed := top.Measure(cmd.Context(), c, which)
		return errors.Join(top.Show(p, uses), failed)
	}
	return cmd
}
