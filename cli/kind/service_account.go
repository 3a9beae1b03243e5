// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"iter"

	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// ServiceAccounts are the identities of programs.
var ServiceAccounts = Kind[openapi.ServiceAccount]{
	View: print.View[openapi.ServiceAccount]{
		Kind: "service-account",
		Name: func(s openapi.ServiceAccount) string { return s.Name },
		Columns: []print.Column[openapi.ServiceAccount]{
			print.Col("NAME", func(s openapi.ServiceAccount) string { return s.Name }),
			print.Col("ROLE", func(s openapi.ServiceAccount) string { return string(s.Role) }),
			print.Col("AGE", func(s openapi.ServiceAccount) string { return print.Age(s.CreatedAt) }),
			print.WideCol("ID", func(s openapi.ServiceAccount) string { return s.ID.String() }),
		},
	},
	Plural: "service-accounts", Aliases: []string{"service-account", "sa"}, Short: "List service accounts, the identities of programs",
	ID: func(s openapi.ServiceAccount) string { return s.ID.String() },
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.ServiceAccount, error) {
		return c.ServiceAccounts.Find(ctx, name)
	},
	IfNone: "to create one, run \"husk service-account create NAME --role developer\"",
	List: func(ctx context.Context, c *client.Client, _ Query) iter.Seq2[openapi.ServiceAccount, error] {
		return c.ServiceAccounts.List(ctx)
	},
}
