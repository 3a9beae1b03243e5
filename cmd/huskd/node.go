// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"husk/dev/control"
	"husk/dev/fabric"
)

// nodeCommand provokes faults in the fleet of a running `huskd dev`.
func nodeCommand(f *devFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Provoke faults on the nodes and servers of a fleet",
		Long: `Provoke faults on the nodes and servers of a fleet, which was started with --nodes or --servers. A fault affects everything on the
host: the agent, libvirt, the pods' machines and the network.`,
		Args: cobra.NoArgs,
	}
	verb := func(name, short string, do func(*control.Client, *cobra.Command, string) error) *cobra.Command {
		c := &cobra.Command{
			Use: name + " NAME", Short: short, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return do(control.NewClient(f.stateDir), cmd, args[0]) },
		}
		cmd.AddCommand(c)
		return c
	}
	verb("kill", "Switch a node off without warning, as if it lost power", func(c *control.Client, cmd *cobra.Command, name string) error {
		return c.Kill(cmd.Context(), name)
	})
	verb("start", "Switch a killed node on again, and wait until it is ready", func(c *control.Client, cmd *cobra.Command, name string) error {
		return c.Start(cmd.Context(), name)
	})
	verb("freeze", "Stop all processes of a node, as if it hung", func(c *control.Client, cmd *cobra.Command, name string) error {
		return c.Freeze(cmd.Context(), name)
	})
	verb("thaw", "Continue the processes of a frozen node", func(c *control.Client, cmd *cobra.Command, name string) error {
		return c.Thaw(cmd.Context(), name)
	})
	var from, direction string
	cut := verb("cut", "Drop packets between a node and others", func(c *control.Client, cmd *cobra.Command, name string) error {
		return c.Cut(cmd.Context(), name, from, fabric.Direction(direction))
	})
	cut.Flags().StringVar(&from, "from", "all", "whom to cut the node off from: server, ceph, database, ovn, node, all, or the name of a host")
	cut.Flags().StringVar(&direction, "direction", "both", "which packets to drop, as the node sees them: in, out or both")
	verb("heal", "Undo all cuts of a node", func(c *control.Client, cmd *cobra.Command, name string) error {
		return c.Heal(cmd.Context(), name)
	})
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "List the nodes and servers of a fleet, and their faults", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return listHosts(cmd, control.NewClient(f.stateDir)) },
	})
	return cmd
}

func listHosts(cmd *cobra.Command, c *control.Client) error {
	hosts, err := c.Hosts(cmd.Context())
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tKIND\tADDRESS\tSTATE\tCUT OFF FROM")
	for _, h := range hosts {
		cuts := ""
		for _, one := range h.Cuts {
			if cuts != "" {
				cuts += ", "
			}
			cuts += one.Name + " (" + string(one.Direction) + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", h.Name, h.Kind, h.Address, h.State, cuts)
	}
	return w.Flush()
}
