// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"iter"

	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Networks are where pods reach each other.
var Networks = Kind[openapi.Network]{
	View: print.View[openapi.Network]{
		Kind: "network", Document: "Network",
		Name: func(n openapi.Network) string { return n.Name },
		Columns: []print.Column[openapi.Network]{
			print.Col("NAME", func(n openapi.Network) string { return n.Name }),
			print.Col("RANGE", func(n openapi.Network) string { return n.Cidr }),
			print.Col("IPV6", func(n openapi.Network) string { return openapi.Value(n.Ipv6Cidr) }),
			print.Col("PODS", func(n openapi.Network) string { return fmt.Sprintf("%d/%d", n.Status.Pods, n.Status.Addresses) }),
			print.Col("OUTSIDE", func(n openapi.Network) string {
				if n.Isolated {
					return "isolated"
				}
				return openapi.Value(n.Status.OuterAddress)
			}),
			print.Col("AGE", func(n openapi.Network) string { return print.Age(n.CreatedAt) }),
			print.WideCol("GATEWAY", func(n openapi.Network) string { return openapi.Value(n.Status.Gateway) }),
			print.WideCol("LABELS", func(n openapi.Network) string { return print.Labels(n.Labels) }),
			print.WideCol("ID", func(n openapi.Network) string { return n.ID.String() }),
		},
	},
	Plural: "networks", Aliases: []string{"network", "net"}, Short: "List or watch networks: which pods reach each other", Labels: true,
	ID: func(n openapi.Network) string { return n.ID.String() },
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.Network, error) {
		return c.Networks.Find(ctx, name)
	},
	IfNone: "to create one, run \"husk network create NAME\"",
	List: func(ctx context.Context, c *client.Client, q Query) iter.Seq2[openapi.Network, error] {
		return c.Networks.List(ctx, client.Select{Labels: q.Labels})
	},
	Watch: func(ctx context.Context, c *client.Client, _ Query, o client.WatchOptions) iter.Seq2[client.Change[openapi.Network], error] {
		return c.Networks.Watch(ctx, o)
	},
}
