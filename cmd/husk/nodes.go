package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"husk/openapi"
)

var nodeView = view[openapi.Node]{
	kind: "node",
	name: func(n openapi.Node) string { return n.Name },
	columns: []column[openapi.Node]{
		{"NAME", false, func(n openapi.Node) string { return n.Name }},
		{"STATE", false, func(n openapi.Node) string { return string(n.State) }},
		{"TAKES-PODS", false, func(n openapi.Node) string { return map[bool]string{false: "yes", true: "no"}[n.Cordoned] }},
		{"POOL", false, func(n openapi.Node) string { return value(n.Pool) }},
		{"CPU", false, func(n openapi.Node) string {
			return cores(n.Allocated.CPUMillis) + "/" + cores(n.SchedulableCPUMillis)
		}},
		{"MEMORY", false, func(n openapi.Node) string {
			return fmt.Sprintf("%d/%dMi", n.Allocated.MemoryMiB, n.Capacity.MemoryMiB)
		}},
		{"HEARTBEAT", false, func(n openapi.Node) string { return ageOf(n.HeartbeatAt) }},
		{"LABELS", true, func(n openapi.Node) string { return labelsText(n.Labels) }},
		{"TAINTS", true, func(n openapi.Node) string { return strings.Join(n.Taints, ",") }},
		{"ID", true, func(n openapi.Node) string { return n.ID.String() }},
	},
}

var nodes = resource[openapi.Node]{
	view: nodeView, plural: "nodes", aliases: []string{"node"}, short: "List nodes, and change what they take",
	id:     func(n openapi.Node) string { return n.ID.String() },
	find:   findNode,
	ifNone: "an agent joins with a join token",
	list: func(ctx context.Context, c *openapi.Client, _ query) ([]openapi.Node, error) {
		return listNodes(ctx, c)
	},
}

func listNodes(ctx context.Context, c *openapi.Client) ([]openapi.Node, error) {
	l, err := answer[openapi.NodeList](c.ListNodes(ctx))
	return l.Items, err
}

func findNode(ctx context.Context, c *openapi.Client, name string) (openapi.Node, error) {
	all, err := listNodes(ctx, c)
	return findListed(name, "node", all, err, func(n openapi.Node) []string { return []string{n.ID.String(), n.Name} })
}

func nodesCommand(a *app) *cobra.Command {
	cmd := listCommand(a, nodes)
	yes, no := true, false
	cmd.AddCommand(
		setNodeCommand(a),
		updateNodeCommand(a, "cordon NODE", "Let a node take no more pods", "takes no more pods", openapi.NodeUpdate{Cordoned: &yes}),
		updateNodeCommand(a, "uncordon NODE", "Let a node take pods again", "takes pods", openapi.NodeUpdate{Cordoned: &no}),
	)
	return cmd
}

// updateNodeCommand is a command that changes a node always in the same way.
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
	n, err := findNode(ctx, c, bare("node", name))
	if err != nil {
		return err
	}
	if n, err = answer[openapi.Node](c.UpdateNode(ctx, n.ID, &openapi.UpdateNodeParams{}, change)); err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.out, nodeView.ref(n), done)
	return err
}

func setNodeCommand(a *app) *cobra.Command {
	var pool string
	var labels, taints []string
	cmd := &cobra.Command{
		Use:   "set NODE",
		Short: "Change a node's pool, labels or taints",
		Long: `Change a node's pool, labels or taints. Labels and taints that are given replace
all that the node has; --label "" and --taint "" remove them, --pool "" takes the
node out of its pool.`,
		Example: `  husk node set metal-7 --pool steady --label zone=east --label rack=r7
  husk node set metal-8 --taint dedicated=web`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&pool, "pool", "", "pool of the node")
	cmd.Flags().StringArrayVar(&labels, "label", nil, "NAME=VALUE; may be repeated")
	cmd.Flags().StringArrayVar(&taints, "taint", nil, "NAME or NAME=VALUE, kept away from by pods that do not tolerate it; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var change openapi.NodeUpdate
		changed := cmd.Flags().Changed
		if !changed("pool") && !changed("label") && !changed("taint") {
			return usagef("say what to change: --pool, --label or --taint")
		}
		if changed("pool") {
			change.Pool = &pool
		}
		if changed("label") {
			parsed, err := parseLabels(nonEmpty(labels))
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
