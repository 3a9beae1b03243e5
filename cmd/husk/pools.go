package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"husk/openapi"
)

var pools = resource[openapi.Pool]{
	view: view[openapi.Pool]{
		kind: "pool",
		name: func(p openapi.Pool) string { return p.Name },
		columns: []column[openapi.Pool]{
			{"NAME", false, func(p openapi.Pool) string { return p.Name }},
			{"CPU-OVERCOMMIT", false, func(p openapi.Pool) string { return strconv.FormatFloat(float64(p.CPUOvercommit), 'g', -1, 32) }},
			{"NODES", false, func(p openapi.Pool) string { return fmt.Sprint(p.Nodes) }},
			{"AGE", false, func(p openapi.Pool) string { return age(p.CreatedAt) }},
		},
	},
	plural: "pools", aliases: []string{"pool"}, short: "List pools of nodes, and make or change them",
	id:     func(p openapi.Pool) string { return p.Name },
	ifNone: "husk pool set NAME makes one",
	list: func(ctx context.Context, c *openapi.Client, _ query) ([]openapi.Pool, error) {
		return listPools(ctx, c)
	},
	find: func(ctx context.Context, c *openapi.Client, name string) (openapi.Pool, error) {
		all, err := listPools(ctx, c)
		return findListed(name, "pool", all, err, func(p openapi.Pool) []string { return []string{p.Name} })
	},
}

func listPools(ctx context.Context, c *openapi.Client) ([]openapi.Pool, error) {
	l, err := answer[openapi.PoolList](c.ListPools(ctx))
	return l.Items, err
}

func poolsCommand(a *app) *cobra.Command {
	cmd := listCommand(a, pools)
	ratio := float32(1)
	set := &cobra.Command{
		Use: "set NAME", Short: "Make a pool, or change it", Args: cobra.ExactArgs(1),
		Long: `Make a pool, or change it. A lower ratio moves no pod: a node keeps what it has,
and gets nothing new until it is below.`,
		Example: "  husk pool set steady --cpu-overcommit 2\n  husk node set metal-7 --pool steady",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			p, err := answer[openapi.Pool](c.PutPool(cmd.Context(), args[0], openapi.PoolPut{CPUOvercommit: ratio}))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s promises %g times its %d nodes' cpu\n", pools.ref(p), p.CPUOvercommit, p.Nodes)
			return err
		},
	}
	set.Flags().Float32Var(&ratio, "cpu-overcommit", 1, "how much cpu is promised for what is there")
	cmd.AddCommand(set, &cobra.Command{Use: "delete NAME", Short: "Delete a pool without nodes", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		if _, err := answer[struct{}](c.DeletePool(cmd.Context(), args[0])); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "pool/%s deleted\n", args[0])
		return err
	}})
	return cmd
}
