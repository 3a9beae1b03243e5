// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"

	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Nodes are the machines that run pods.
var Nodes = Kind[openapi.Node]{
	View: print.View[openapi.Node]{
		Kind: "node",
		Name: func(n openapi.Node) string { return n.Name },
		Columns: []print.Column[openapi.Node]{
			print.Col("NAME", func(n openapi.Node) string { return n.Name }),
			print.Col("STATE", nodeState),
			print.Col("SCHEDULABLE", func(n openapi.Node) string { return map[bool]string{false: "yes", true: "no"}[n.Cordoned] }),
			print.Col("POOL", func(n openapi.Node) string { return openapi.Value(n.Pool) }),
			print.Col("CPU", func(n openapi.Node) string {
				return print.Cores(n.Allocated.CPUMillis) + "/" + print.Cores(n.SchedulableCPUMillis)
			}),
			print.Col("MEMORY", func(n openapi.Node) string {
				return fmt.Sprintf("%d/%dMi", n.Allocated.MemoryMiB, n.Capacity.MemoryMiB)
			}),
			print.WideCol("SCRATCH", scratch),
			print.Col("HEARTBEAT", func(n openapi.Node) string { return print.AgeOf(n.HeartbeatAt) }),
			print.WideCol("LABELS", func(n openapi.Node) string { return print.Labels(n.Labels) }),
			print.WideCol("TAINTS", func(n openapi.Node) string { return strings.Join(n.Taints, ",") }),
			print.WideCol("ID", func(n openapi.Node) string { return n.ID.String() }),
		},
	},
	Plural: "nodes", Aliases: []string{"node"}, Short: "List nodes",
	ID: func(n openapi.Node) string { return n.ID.String() },
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.Node, error) {
		return c.Nodes.Find(ctx, name)
	},
	IfNone: "a node joins when its agent starts with a join token",
	List: func(ctx context.Context, c *client.Client, _ Query) iter.Seq2[openapi.Node, error] {
		return client.Each(c.Nodes.List(ctx))
	},
}

// nodeState is the state of a node, and of its drain.
func nodeState(n openapi.Node) string {
	if n.Drain != nil {
		return string(n.State) + "," + string(*n.Drain)
	}
	return string(n.State)
}

// DescribeFence prints what is cut off when a node is fenced.
func DescribeFence(w io.Writer, n openapi.Node, done string, f openapi.Fence) error {
	addresses := "none"
	if len(f.Addresses) > 0 {
		addresses = strings.Join(f.Addresses, ", ")
	}
	if _, err := fmt.Fprintf(w, "%s %s: %d pods, Ceph clients %s\n", Nodes.Ref(n), done, f.Pods, addresses); err != nil || f.Unproven == 0 {
		return err
	}
	_, err := fmt.Fprintf(w, "%d of the pods write volumes through clients that are not known; they start elsewhere only with --machine-is-off\n", f.Unproven)
	return err
}

// scratch returns how much the scratch disks of a node's pods have.
func scratch(n openapi.Node) string {
	if n.ScratchGiB == nil {
		return ""
	}
	return fmt.Sprintf("%d/%dGi", openapi.Value(n.AllocatedScratchGiB), *n.ScratchGiB)
}

// DescribeDefragmentation prints which nodes can be drained, and how.
func DescribeDefragmentation(w io.Writer, d openapi.Defragmentation) error {
	if len(d.Freed) == 0 {
		_, err := fmt.Fprintln(w, "no node can be drained")
		return err
	}
	for _, n := range d.Freed {
		if _, err := fmt.Fprintf(w, "node/%s: %d moves free %s cores and %d MiB, that is %s cores and %d MiB for each move\n", print.Clean(n.NodeName), len(n.Moves),
			print.Cores(n.Gain.CPUMillis), n.Gain.MemoryMiB, print.Cores(n.GainPerMove.CPUMillis), n.GainPerMove.MemoryMiB); err != nil {
			return err
		}
		for _, m := range n.Moves {
			if _, err := fmt.Fprintf(w, "  pod %s of tenant %s, %s cores and %d MiB, to node/%s\n", m.PodID, m.TenantID,
				print.Cores(m.Resources.CPUMillis), m.Resources.MemoryMiB, print.Clean(m.ToNodeName)); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintf(w, "%d moves free %d nodes\n", d.Moves, len(d.Freed))
	return err
}
