// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Issuers are the tenant's own OIDC issuers.
var Issuers = Kind[openapi.OIDCIssuer]{
	View: print.View[openapi.OIDCIssuer]{
		Kind: "issuer",
		Name: func(i openapi.OIDCIssuer) string { return i.Name },
		Columns: []print.Column[openapi.OIDCIssuer]{
			print.Col("NAME", func(i openapi.OIDCIssuer) string { return i.Name }),
			print.Col("ISSUER", func(i openapi.OIDCIssuer) string { return i.Issuer }),
			print.Col("CLIENT-ID", func(i openapi.OIDCIssuer) string { return i.ClientID }),
			print.Col("MAPPINGS", func(i openapi.OIDCIssuer) string { return fmt.Sprint(len(i.RoleMappings)) }),
			print.Col("AGE", func(i openapi.OIDCIssuer) string { return print.Age(i.CreatedAt) }),
			print.WideCol("ROLES", func(i openapi.OIDCIssuer) string {
				var parts []string
				for _, m := range i.RoleMappings {
					parts = append(parts, m.Claim+"="+m.Value+":"+string(m.Role))
				}
				return strings.Join(parts, ",")
			}),
			print.WideCol("ID", func(i openapi.OIDCIssuer) string { return i.ID.String() }),
		},
	},
	Plural: "issuers", Aliases: []string{"issuer"}, Short: "List the tenant's own OIDC issuers",
	ID: func(i openapi.OIDCIssuer) string { return i.ID.String() },
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.OIDCIssuer, error) {
		return c.Issuers.Find(ctx, name)
	},
	IfNone: "to trust one, run \"husk issuer create NAME --issuer URL --client-id ID\". Users can also log in at the installation's issuers",
	List: func(ctx context.Context, c *client.Client, _ Query) iter.Seq2[openapi.OIDCIssuer, error] {
		return c.Issuers.List(ctx)
	},
}

// PlatformIssuers are the installation's OIDC issuers, which operators manage.
var PlatformIssuers = Kind[openapi.OIDCIssuer]{
	View:   print.View[openapi.OIDCIssuer]{Kind: "platform-issuer", Name: Issuers.Name, Columns: Issuers.Columns},
	Plural: "platform-issuers", Aliases: []string{"platform-issuer"}, Short: "List the installation's OIDC issuers, and create, change and delete them",
	ID: Issuers.ID,
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.OIDCIssuer, error) {
		return c.PlatformIssuers.Find(ctx, name)
	},
	IfNone: "to trust one, run \"husk platform-issuer create NAME --issuer URL --client-id ID\"",
	List: func(ctx context.Context, c *client.Client, _ Query) iter.Seq2[openapi.OIDCIssuer, error] {
		return c.PlatformIssuers.List(ctx)
	},
}
