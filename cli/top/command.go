// SPDX-License-Identifier: Apache-2.0

package top

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"husk/cli/complete"
	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Parts are what the command needs of the command line.
type Parts struct {
	Connect func() (*client.Client, error)
	Output  func(cmd *cobra.Command, formats ...string) func() (print.Printer, error)
	Names   func(kind string) complete.Offer
}

// Command makes husk top.
func Command(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top [POD…]",
		Short: "Show the CPU and memory use of pods, now or since a time",
		Long: `Show the CPU and memory use of running pods and of each of their containers, for
all pods if none is named. A pod's first line is for its whole virtual machine,
including the kernel. CPU use is averaged over a second.

With --since, husk prints what one pod has used in each minute: nodes keep a day.
Rates are averages, and memory is the highest value of the minute.`,
		Example: `  husk top
  husk top web db -o json
  husk top web --since 2h`,
		ValidArgsFunction: a.Names("pod"),
	}
	output := a.Output(cmd, "table", "json", "yaml")
	since := cmd.Flags().String("since", "", "print the minutes since a time (2026-03-02T09:00:00Z) or a duration ago (2h) of one pod")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		from, err := parse.Since(*since, time.Now())
		if err != nil {
			return err
		}
		if !from.IsZero() && len(args) != 1 {
			return exit.Usagef("--since: name one pod, such as husk top web --since %s", *since)
		}
		c, err := a.Connect()
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
		if !from.IsZero() {
			points, err := c.Pods.History(cmd.Context(), which[0].ID, from)
			if err != nil {
				return err
			}
			return ShowHistory(p, points)
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
		uses, failed := Measure(cmd.Context(), c, which)
		return errors.Join(Show(p, uses), failed)
	}
	return cmd
}
