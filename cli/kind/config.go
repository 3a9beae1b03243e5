// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"iter"
	"strconv"
	"strings"

	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Configs and Secrets are named values of a tenant, for its pods.
var (
	Configs = configKind(openapi.ConfigKindConfig, "config", []string{"config", "cm"}, "List configs: named values for pods")
	Secrets = configKind(openapi.ConfigKindSecret, "secret", []string{"secret"}, "List secrets: named values for pods that cannot be read back")
)

func configKind(kind openapi.ConfigKind, noun string, aliases []string, short string) Kind[openapi.Config] {
	return Kind[openapi.Config]{
		View: print.View[openapi.Config]{
			Kind: noun, Document: string(kind),
			Name: func(c openapi.Config) string { return c.Name },
			Columns: []print.Column[openapi.Config]{
				print.Col("NAME", func(c openapi.Config) string { return c.Name }),
				print.Col("KEYS", func(c openapi.Config) string { return strconv.Itoa(len(c.Keys)) }),
				print.Col("VERSION", func(c openapi.Config) string { return strconv.FormatInt(c.Version, 10) }),
				print.Col("CHANGED", func(c openapi.Config) string { return print.Age(c.UpdatedAt) }),
				print.WideCol("LABELS", func(c openapi.Config) string { return print.Labels(c.Labels) }),
				print.WideCol("NAMES", func(c openapi.Config) string {
					names := make([]string, 0, len(c.Keys))
					for _, k := range c.Keys {
						names = append(names, k.Name)
					}
					return strings.Join(names, ",")
				}),
				print.WideCol("ID", func(c openapi.Config) string { return c.ID.String() }),
			},
		},
		Plural: noun + "s", Aliases: aliases, Short: short, Labels: true,
		ID: func(c openapi.Config) string { return c.ID.String() },
		Find: func(ctx context.Context, c *client.Client, name string) (openapi.Config, error) {
			return c.Configs.Find(ctx, kind, name)
		},
		IfNone: "to create one, run \"husk " + noun + " create NAME KEY=VALUE\"",
		List: func(ctx context.Context, c *client.Client, q Query) iter.Seq2[openapi.Config, error] {
			return c.Configs.List(ctx, kind, client.Select{Labels: q.Labels})
		},
	}
}

func findConfig(kind Kind[openapi.Config]) func(ctx context.Context, c *client.Client, name string) (Object, error) {
	return func(ctx context.Context, c *client.Client, name string) (Object, error) {
		found, err := kind.Find(ctx, c, name)
		return Object{Ref: kind.Ref(found), ID: found.ID, Delete: func(ctx context.Context) error { return c.Configs.Delete(ctx, found.ID) }}, err
	}
}
