// SPDX-License-Identifier: Apache-2.0

package move

import (
	"fmt"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/print"
	"husk/openapi"
)

// Pod makes husk move.
func (m Command) Pod() *cobra.Command {
	var tenant, node string
	cmd := &cobra.Command{
		Use:   "move POD",
		Short: "Move a pod to another node",
		Long: `Move a pod to another node. A pod with volumes, or one that is to run only once,
moves while it runs: its memory moves with it. Another pod starts on the new node
before it stops on the old one. The pod's events show how the move ends.

Give the IDs of the tenant and of the pod.`,
		Example: "  husk move --tenant 3f1c2a9e-6b0d-4c55-9a7e-2d8f0b6c1e44 b7d9f3a2-14c8-4e0b-8f6d-5a1c7e92d303 --node metal-8",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "ID of the pod's tenant")
	cmd.Flags().StringVar(&node, "node", "", "node to move the pod to; without it, the scheduler chooses")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		of, err := uuid.Parse(tenant)
		if err != nil {
			return exit.Usagef("--tenant: %q is not an ID", tenant)
		}
		id, err := uuid.Parse(args[0])
		if err != nil {
			return exit.Usagef("a pod is named by its ID; %q is not an ID", args[0])
		}
		c, err := m.Connect()
		if err != nil {
			return err
		}
		var put openapi.MovePut
		if node != "" {
			n, err := c.Nodes.Find(cmd.Context(), kind.Bare("node", node))
			if err != nil {
				return err
			}
			put.NodeID = &n.ID
		}
		move, err := c.Tenants.Move(cmd.Context(), of, id, put)
		if err != nil {
			return err
		}
		how := "it starts there before it stops here"
		if move.Live {
			how = "its memory moves with it"
		}
		_, err = fmt.Fprintf(m.Out, "pod/%s moves from node/%s to node/%s; %s\n", id, print.Clean(move.FromNodeName), print.Clean(move.ToNodeName), how)
		return err
	}
	return cmd
}
