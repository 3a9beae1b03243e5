// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/issuers"
	"husk/cli/kind"
	"husk/cli/move"
	"husk/cli/operators"
	"husk/cli/parse"
	"husk/openapi"
)

func nodesCommand(a *app) *cobra.Command {
	cmd := listCommand(a, kind.Nodes)
	cmd.Short = "List nodes, and change how pods are scheduled to them"
	cmd.AddCommand(
		setNodeCommand(a),
		updateNodeCommand(a, "cordon NODE", "Do not schedule new pods to a node", "cordoned", openapi.NodeUpdate{Cordoned: new(true)}),
		updateNodeCommand(a, "uncordon NODE", "Schedule pods to a node again", "uncordoned", openapi.NodeUpdate{Cordoned: new(false)}),
		fenceNodeCommand(a),
		a.moving().Drain(),
		operators.JoinToken(a.operating()), operators.Certificates(a.operating()), operators.Revoke(a.operating()),
	)
	return cmd
}

func issuersCommand(a *app, of issuers.Of) *cobra.Command {
	cmd := listCommand(a, of.Kind)
	cmd.AddCommand(append(of.Commands(issuers.Parts{Connect: a.connect, Output: a.outputFlags, Names: a.offers().Names}), deleteKind(a, of.View.Kind))...)
	return cmd
}

func signingKeysCommand(a *app) *cobra.Command {
	cmd := listCommand(a, operators.SigningKeys)
	cmd.AddCommand(operators.RotateKey(a.operating()), operators.DeleteKey(a.operating()))
	return cmd
}

func tenantsCommand(a *app) *cobra.Command {
	cmd := listCommand(a, operators.Tenants)
	parts := a.operating()
	cmd.AddCommand(operators.Create(parts), operators.Set(parts), operators.Delete(parts), operators.Key(parts))
	return cmd
}

func unknownCommand(a *app) *cobra.Command {
	cmd := listCommand(a, operators.UnknownObjects)
	cmd.AddCommand(operators.RemoveUnknown(a.operating()))
	return cmd
}

func (a *app) operating() operators.Parts {
	return operators.Parts{Connect: a.connect, Output: a.outputFlags, Hint: a.hint}
}

func (a *app) moving() move.Command {
	return move.Command{Connect: a.connect, Out: a.out, Until: a.until}
}

func fenceNodeCommand(a *app) *cobra.Command {
	var dry, off bool
	cmd := &cobra.Command{
		Use:   "fence NODE",
		Short: "Cut a node off from its pods' volumes, and start its pods on other nodes",
		Long: `Cut a node off from its pods' volumes, and start its pods on other nodes. Husk does
this by itself when a node does not respond. The node's machines end. Husk schedules
no pods to it until it has removed them. With --dry-run, nothing changes.

If Husk says that it cannot be sure that the node does not write any more, switch it
off, and then confirm it with --machine-is-off. If it is not off, volumes can be
damaged.`,
		Example: "  husk node fence metal-7 --dry-run\n  husk node fence metal-7\n  husk node fence metal-7 --machine-is-off",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only show what would be cut off")
	cmd.Flags().BoolVar(&off, "machine-is-off", false, "the node has no power; do not wait for proof that it does not write")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		n, err := c.Nodes.Find(cmd.Context(), kind.Bare("node", args[0]))
		if err != nil {
			return err
		}
		done := "would be fenced"
		fence, err := c.Nodes.Fence(cmd.Context(), n.ID)
		if err == nil && !dry {
			done = "is being fenced"
			fence, err = c.Nodes.DoFence(cmd.Context(), n.ID, openapi.FencePut{MachineIsOff: &off})
		}
		if err != nil {
			return err
		}
		return kind.DescribeFence(a.out, n, done, fence)
	}
	return cmd
}

// updateNodeCommand makes a command that always changes a node in the same way.
func updateNodeCommand(a *app, use, short, done string, change openapi.NodeUpdate) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.updateNode(cmd.Context(), args[0], done, change)
	}}
}

func (a *app) updateNode(ctx context.Context, name, done string, change openapi.NodeUpdate) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	n, err := c.Nodes.Find(ctx, kind.Bare("node", name))
	if err != nil {
		return err
	}
	if n, err = c.Nodes.Update(ctx, n.ID, change); err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.out, kind.Nodes.Ref(n), done)
	return err
}

func setNodeCommand(a *app) *cobra.Command {
	var pool string
	var labels, taints []string
	cmd := &cobra.Command{
		Use:   "set NODE",
		Short: "Change a node's pool, labels or taints",
		Long: `Change a node's pool, labels or taints. --label replaces all labels of the node, and
--taint all its taints; --label "" and --taint "" remove them. --pool "" removes the
node from its pool.`,
		Example: `  husk node set metal-7 --pool steady --label zone=east --label rack=r7
  husk node set metal-8 --taint dedicated=web`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&pool, "pool", "", "pool of the node")
	cmd.Flags().StringArrayVar(&labels, "label", nil, "label of the node, NAME=VALUE; may be repeated")
	cmd.Flags().StringArrayVar(&taints, "taint", nil, "taint of the node, NAME or NAME=VALUE; only pods that tolerate it are scheduled to the node; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var change openapi.NodeUpdate
		changed := cmd.Flags().Changed
		if !changed("pool") && !changed("label") && !changed("taint") {
			return exit.Usagef("say what to change: --pool, --label or --taint")
		}
		if changed("pool") {
			change.Pool = &pool
		}
		if changed("label") {
			parsed, err := parse.Labels(nonEmpty(labels))
			if err != nil {
				return err
			}
			if change.Labels = parsed; parsed == nil {
				change.Labels = &openapi.Labels{}
			}
		}
		if changed("taint") {
			all := append([]openapi.Taint{}, nonEmpty(taints)...)
			change.Taints = &all
		}
		return a.updateNode(cmd.Context(), args[0], "changed", change)
	}
	return cmd
}

func nonEmpty(words []string) (rest []string) {
	for _, w := range words {
		if w != "" {
			rest = append(rest, w)
		}
	}
	return rest
}

func poolsCommand(a *app) *cobra.Command {
	cmd := listCommand(a, kind.Pools)
	cmd.Short = "List pools of nodes, and create or change them"
	ratio := float32(1)
	set := &cobra.Command{
		Use: "set NAME", Short: "Create a pool, or change it", Args: cobra.ExactArgs(1),
		Long: `Create a pool, or change it. Lowering the overcommit moves no pod: a node keeps its
pods, and no new pod is scheduled to it until its allocation is below the limit.`,
		Example: "  husk pool set steady --cpu-overcommit 2\n  husk node set metal-7 --pool steady",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			p, err := c.Pools.Put(cmd.Context(), args[0], openapi.PoolPut{CPUOvercommit: ratio})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s has %d nodes and a CPU overcommit of %g\n", kind.Pools.Ref(p), p.Nodes, p.CPUOvercommit)
			return err
		},
	}
	set.Flags().Float32Var(&ratio, "cpu-overcommit", 1, "CPU that may be allocated, as a multiple of the nodes' CPU")
	cmd.AddCommand(set, &cobra.Command{Use: "delete NAME", Short: "Delete a pool that has no nodes", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		if err := c.Pools.Delete(cmd.Context(), args[0]); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "pool/%s deleted\n", args[0])
		return err
	}})
	return cmd
}

func defragmentCommand(a *app) *cobra.Command {
	moves, pool, apply := 100, "", false
	cmd := &cobra.Command{
		Use:   "defragment",
		Short: "Propose nodes to drain and switch off; with --apply, drain them",
		Long: `Propose nodes that can be drained: their pods fit on other nodes that already run
pods. Show how much capacity each move frees. husk does nothing unless --apply is
given. With --apply, it drains these nodes, as "husk node drain" does. A drained
node may be switched off. To schedule pods to it again, run "husk node uncordon".`,
		Example: "  husk defragment --max-moves 20\n  husk defragment --max-moves 20 --apply",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().IntVar(&moves, "max-moves", moves, "maximum number of pods to move")
	cmd.Flags().StringVar(&pool, "pool", "", "propose only nodes of this pool")
	cmd.Flags().BoolVar(&apply, "apply", false, "drain the nodes")
	output := a.outputFlags(cmd, "text", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		dry := !apply
		d, err := c.Nodes.Defragment(cmd.Context(), openapi.DefragmentationCreate{DryRun: &dry, MaxMoves: &moves, Pool: given(pool)})
		if err != nil {
			return err
		}
		if printed, err := p.Value(d); printed {
			return err
		}
		if err := kind.DescribeDefragmentation(p.Out, d); err != nil {
			return err
		}
		if dry && len(d.Freed) > 0 {
			a.hint("nothing was changed; --apply drains the nodes")
		}
		return nil
	}
	return cmd
}
