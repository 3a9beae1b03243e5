// SPDX-License-Identifier: Apache-2.0

package operators

import (
	"fmt"

	"github.com/spf13/cobra"

	"husk/cli/kind"
	"husk/cli/parse"
	"husk/cli/print"
	"husk/openapi"
)

// JoinToken makes the command that creates a token for a node that joins.
func JoinToken(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "join-token [NODE]",
		Short: "Create a token with which one node can join once",
		Long: `Create a token with which one node can join once. Give it to the node's agent as
--join-token. With NODE, it brings that node back, whose agent has lost its
certificate.`,
		Example: "  husk node join-token --expires-in 10m",
		Args:    cobra.MaximumNArgs(1),
	}
	expires := cmd.Flags().String("expires-in", "1h", "how long the token is valid, such as 10m or 7d")
	output := a.Output(cmd, "text", "json", "yaml") // not name: the token would be lost
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		life, err := parse.Lifetime("--expires-in", *expires)
		if err != nil {
			return err
		}
		create := openapi.JoinTokenCreate{}
		if life != nil {
			seconds := int(*life)
			create.ExpiresInSeconds = &seconds
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		if len(args) > 0 {
			n, err := c.Nodes.Find(cmd.Context(), kind.Bare("node", args[0]))
			if err != nil {
				return err
			}
			create.NodeID = &n.ID
		}
		token, err := c.Nodes.CreateJoinToken(cmd.Context(), create)
		if err != nil {
			return err
		}
		if printed, err := p.Value(token); printed {
			return err
		}
		_, err = fmt.Fprintln(p.Out, print.Clean(token.Token))
		a.Hint("it is valid until %s and not shown again; start the node's agent with --join-token", token.ExpiresAt.UTC().Format("2006-01-02T15:04Z"))
		if token.Command != nil {
			a.Hint("on the node: %s", print.Clean(*token.Command))
		}
		return err
	}
	return cmd
}
