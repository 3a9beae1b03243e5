// SPDX-License-Identifier: Apache-2.0

// Package move has the commands that move pods to other nodes, and that change their size where they are: husk node drain, husk move and husk resize.
package move

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Command is what the commands need of the command line.
type Command struct {
	Connect func() (*client.Client, error)
	Out     io.Writer
	// Until calls look until it returns true, and shows the state in the meantime.
	Until func(ctx context.Context, within time.Duration, what string, look func() (bool, string, error)) error
}

// Drain makes husk node drain.
func (m Command) Drain() *cobra.Command {
	var put openapi.DrainPut
	var moves, ofTenant int
	var restart, wait, cancel bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "Move all pods of a node to other nodes, and schedule no pods to it",
		Long: `Move all pods of a node to other nodes, a few at a time, and schedule no pods to the
node. Pods with volumes, and pods that are to run only once, move while they run.
Other pods start on another node before they stop on this one. A pod that fits on
no other node stays, and husk says why; the server retries.

--cancel ends the drain. Pods that have moved stay where they are. "husk node
uncordon" ends it too.`,
		Example: "  husk node drain metal-7 --wait\n  husk node drain metal-7 --cancel",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().IntVar(&moves, "max-moves", 0, "number of pods that move at the same time (default 4)")
	cmd.Flags().IntVar(&ofTenant, "max-moves-per-tenant", 0, "number of pods of one tenant that move at the same time (default 2)")
	cmd.Flags().BoolVar(&restart, "restart", false, "stop pods that cannot move while they run; they start again elsewhere")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until no pod is left on the node")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Hour, "maximum time to wait")
	cmd.Flags().BoolVar(&cancel, "cancel", false, "cancel the drain")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cancel && (wait || restart || moves != 0 || ofTenant != 0) {
			return exit.Usagef("--cancel takes no other flags")
		}
		c, err := m.Connect()
		if err != nil {
			return err
		}
		n, err := c.Nodes.Find(cmd.Context(), kind.Bare("node", args[0]))
		if err != nil {
			return err
		}
		if cancel {
			if err := c.Nodes.CancelDrain(cmd.Context(), n.ID); err != nil {
				return err
			}
			_, err = fmt.Fprintln(m.Out, kind.Nodes.Ref(n), "is no longer being drained")
			return err
		}
		put.Restart = &restart
		if cmd.Flags().Changed("max-moves") {
			put.MaxMoves = &moves
		}
		if cmd.Flags().Changed("max-moves-per-tenant") {
			put.MaxMovesPerTenant = &ofTenant
		}
		d, err := c.Nodes.Drain(cmd.Context(), n.ID, put)
		if err != nil {
			return err
		}
		if wait {
			err = m.Until(cmd.Context(), timeout, kind.Nodes.Ref(n), func() (bool, string, error) {
				var err error
				d, err = c.Nodes.GetDrain(cmd.Context(), n.ID)
				return err == nil && d.State == openapi.DrainStateDrained, progress(d), err
			})
		}
		if e := describe(m.Out, n, d); err == nil {
			err = e
		}
		return err
	}
	return cmd
}

func progress(d openapi.Drain) string {
	text := fmt.Sprintf("%d pods left, %d moving, %d moved", d.Pods, d.Moving, d.Moved)
	if len(d.Blocked) > 0 {
		text += fmt.Sprintf(", %d blocked", len(d.Blocked))
	}
	return text
}

func describe(w io.Writer, n openapi.Node, d openapi.Drain) error {
	is := "is being drained"
	if d.State == openapi.DrainStateDrained {
		is = "is drained"
	}
	if _, err := fmt.Fprintf(w, "%s %s: %s\n", kind.Nodes.Ref(n), is, progress(d)); err != nil {
		return err
	}
	for _, p := range d.Blocked {
		if _, err := fmt.Fprintf(w, "  pod %s of tenant %s (%s) stays: %s\n", p.ID, p.TenantID, print.Clean(p.Name), print.Clean(p.Message)); err != nil {
			return err
		}
	}
	return nil
}
