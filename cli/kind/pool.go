// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"iter"
	"strconv"

	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Pools are groups of nodes.
var Pools = Kind[openapi.Pool]{
	View: print.View[openapi.Pool]{
		Kind: "pool",
		Name: func(p openapi.Pool) string { return p.Name },
		Columns: []print.Column[openapi.Pool]{
			print.Col("NAME", func(p openapi.Pool) string { return p.Name }),
			print.Col("CPU-OVERCOMMIT", func(p openapi.Pool) string { return strconv.FormatFloat(float64(p.CPUOvercommit), 'g', -1, 32) }),
			print.Col("NODES", func(p openapi.Pool) string { return fmt.Sprint(p.Nodes) }),
			print.Col("AGE", func(p openapi.Pool) string { return print.Age(p.CreatedAt) }),
		},
	},
	Plural: "pools", Aliases: []string{"pool"}, Short: "List pools of nodes",
	ID:     func(p openapi.Pool) string { return p.Name },
	NoID:   true,
	IfNone: "to create one, run \"husk pool set NAME\"",
	List: func(ctx context.Context, c *client.Client, _ Query) iter.Seq2[openapi.Pool, error] {
		return client.Each(c.Pools.List(ctx))
	},
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.Pool, error) {
		return c.Pools.Find(ctx, name)
	},
}
