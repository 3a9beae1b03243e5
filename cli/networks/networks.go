// SPDX-License-Identifier: Apache-2.0

// Package networks has the command that creates networks.
package networks

import (
	"github.com/spf13/cobra"

	"husk/cli/kind"
	"husk/cli/parse"
	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Parts is what the command shares with all others.
type Parts struct {
	Connect func() (*client.Client, error)
	// Output adds the flags for the format of the output.
	Output func(cmd *cobra.Command, formats ...string) func() (print.Printer, error)
}

// Create makes the command that creates a network.
func Create(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME [--range RANGE]",
		Short: "Create a network, in which pods reach each other",
		Long: `Create a network. Pods are in it if they say so: husk run --network NAME.
A router connects all networks of the tenant, except isolated ones.

The ranges of the tenant's own networks may not overlap. Those of other tenants do
not matter.`,
		Example: "  husk network create back --range 10.1.0.0/24 --ipv6-range fd00:1::/64\n" +
			"  husk network create vault --isolated",
		Args: cobra.ExactArgs(1),
	}
	cidr := cmd.Flags().String("range", "", "private IPv4 addresses, such as 10.1.0.0/24 (default: a free range)")
	cidr6 := cmd.Flags().String("ipv6-range", "", "unique local IPv6 addresses, such as fd00:1::/64 (default: none)")
	isolated := cmd.Flags().Bool("isolated", false, "connect the network with no other one")
	labels := cmd.Flags().StringArray("label", nil, "add a label to the network, NAME=VALUE; may be repeated")
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		n := openapi.NetworkCreate{Name: args[0], Isolated: isolated}
		if *cidr != "" {
			n.Cidr = cidr
		}
		if *cidr6 != "" {
			n.Ipv6Cidr = cidr6
		}
		if n.Labels, err = parse.Labels(*labels); err != nil {
			return err
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		created, err := c.Networks.Create(cmd.Context(), n)
		if err != nil {
			return err
		}
		return kind.Networks.Done(p, created, "created")
	}
	return cmd
}
