// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"iter"

	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Users are people who log in at an OIDC issuer.
var Users = Kind[openapi.User]{
	View: print.View[openapi.User]{
		Kind: "user",
		Name: userName,
		Columns: []print.Column[openapi.User]{
			print.Col("USER", userName),
			print.Col("ROLE", func(u openapi.User) string { return string(u.Role) }),
			print.Col("ACCESS", func(u openapi.User) string {
				switch {
				case u.Disabled:
					return "disabled"
				case u.Mapped:
					return "by mapping"
				default:
					return "granted"
				}
			}),
			print.Col("LAST-LOGIN", func(u openapi.User) string { return print.AgeOf(u.LastLoginAt) }),
			print.Col("AGE", func(u openapi.User) string { return print.Age(u.CreatedAt) }),
			print.WideCol("ISSUER", func(u openapi.User) string { return u.Issuer }),
			print.WideCol("SUBJECT", func(u openapi.User) string { return openapi.Value(u.Subject) }),
			print.WideCol("NAME", func(u openapi.User) string { return openapi.Value(u.Name) }),
			print.WideCol("ID", func(u openapi.User) string { return u.ID.String() }),
		},
	},
	Plural: "users", Aliases: []string{"user"}, Short: "List users, who log in at an OIDC issuer",
	ID: func(u openapi.User) string { return u.ID.String() },
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.User, error) {
		return c.Users.Find(ctx, name)
	},
	IfNone: "to grant a user access, run \"husk user create dev@example.com --issuer URL --role developer\"",
	List: func(ctx context.Context, c *client.Client, _ Query) iter.Seq2[openapi.User, error] {
		return c.Users.List(ctx)
	},
}

// userName returns the email address, or the issuer's subject for the user.
func userName(u openapi.User) string {
	for _, name := range []*string{u.Email, u.Subject} {
		if openapi.Value(name) != "" {
			return *name
		}
	}
	return u.ID.String()
}
