// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/client"
	"husk/openapi"
)

func podsCommand(a *app) *cobra.Command { return listCommand(a, kind.Pods) }

func podCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "pod NAME|ID",
		Aliases:           []string{"describe", "inspect"},
		Short:             "Show the details and the events of one pod",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.offers().Names("pod"),
	}
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if len(args) == 2 { // husk describe pod web
			if of, _ := kind.Of(args[0]); of != "pod" {
				return exit.Usagef("husk %s takes the name of one pod; given two arguments, the first must be \"pod\", not %q", cmd.CalledAs(), args[0])
			}
			args = args[1:]
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		pod, err := kind.FindPod(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		if p.Format != "text" {
			return kind.Pods.One(p, pod)
		}
		happened, err := client.Collect(c.Events.List(cmd.Context(), client.EventSelect{Object: pod.ID}))
		if err != nil {
			return err
		}
		return kind.DescribePod(p.Out, pod, happened)
	}
	return cmd
}

func placementCommand(a *app) *cobra.Command {
	tenant := ""
	cmd := &cobra.Command{
		Use:   "placement POD",
		Short: "Explain why a pod is on its node, or why it is not scheduled",
		Long: `Explain the last decision of the scheduler about a pod: how many nodes match its
selectors, tolerations and rules, which resources these nodes lack, and which of
the tenant's own pods could be deleted to make the pod fit.

An operator gives the IDs of the tenant and of the pod, and sees all details.`,
		Example: `  husk placement web
  husk placement --tenant 3f1c2a9e-6b0d-4c55-9a7e-2d8f0b6c1e44 b7d9f3a2-14c8-4e0b-8f6d-5a1c7e92d303`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.offers().Names("pod"),
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "ID of the pod's tenant, for operators")
	output := a.outputFlags(cmd, "text", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		var of, id uuid.UUID
		if tenant != "" {
			if of, err = uuid.Parse(tenant); err != nil {
				return exit.Usagef("--tenant: %q is not an ID", tenant)
			}
			if id, err = uuid.Parse(args[0]); err != nil {
				return exit.Usagef("with --tenant, a pod is named by its ID; %q is not an ID", args[0])
			}
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		var placement openapi.Placement
		if tenant != "" {
			placement, err = c.Tenants.Placement(cmd.Context(), of, id)
		} else {
			var pod openapi.Pod
			if pod, err = kind.FindPod(cmd.Context(), c, args[0]); err != nil {
				return err
			}
			placement, err = c.Pods.Placement(cmd.Context(), pod.ID)
		}
		if err != nil {
			return err
		}
		if printed, err := p.Value(placement); printed {
			return err
		}
		return kind.DescribePlacement(p.Out, placement)
	}
	return cmd
}
