// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"iter"

	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// APIKey is an API key with the name of its service account.
type APIKey struct {
	openapi.APIKey

	account string
}

var keyView = print.View[APIKey]{
	Kind: "api-key",
	Name: func(k APIKey) string { return k.ClientID.String() },
	Columns: []print.Column[APIKey]{
		print.Col("NAME", func(k APIKey) string { return k.Name }),
		print.Col("SERVICE-ACCOUNT", func(k APIKey) string { return k.account }),
		print.Col("CLIENT-ID", func(k APIKey) string { return k.ClientID.String() }),
		print.Col("AGE", func(k APIKey) string { return print.Age(k.CreatedAt) }),
		print.Col("LAST-USED", func(k APIKey) string { return print.AgeOf(k.LastUsedAt) }),
		print.Col("EXPIRES", func(k APIKey) string { return print.Time(k.ExpiresAt) }),
		print.WideCol("LIMITED-TO", func(k APIKey) string { return string(openapi.Value(k.LimitedTo)) }),
	},
}

// listKeys lists the keys of one service account, or of all.
func listKeys(ctx context.Context, c *client.Client, account string) iter.Seq2[APIKey, error] {
	accounts := c.ServiceAccounts.List(ctx)
	if account != "" {
		one, err := c.ServiceAccounts.Find(ctx, account)
		if err != nil {
			return client.Each[APIKey](nil, err)
		}
		accounts = client.Each([]openapi.ServiceAccount{one}, nil)
	}
	return func(yield func(APIKey, error) bool) {
		for s, err := range accounts {
			if err != nil {
				yield(APIKey{}, err)
				return
			}
			keys, err := c.ServiceAccounts.Keys(ctx, s.ID)
			if client.IsNotFound(err) && account == "" { // it was deleted in the meantime
				continue
			}
			if err != nil {
				yield(APIKey{}, err)
				return
			}
			for _, k := range keys {
				if !yield(APIKey{k, s.Name}, nil) {
					return
				}
			}
		}
	}
}

// findKey finds a key by its client ID or its name.
func findKey(ctx context.Context, c *client.Client, name, account string) (APIKey, error) {
	return client.FindIn(listKeys(ctx, c, account), "API key", name, func(k APIKey) []string { return []string{k.ClientID.String(), k.Name} })
}

// APIKeys returns the keys of one service account, or of all. account is the value of a flag, which is only known once keys are listed or
// found.
func APIKeys(account *string) Kind[APIKey] {
	return Kind[APIKey]{
		View: keyView, Plural: "api-keys", Aliases: []string{"api-key", "key"}, Short: "List API keys, without their secrets",
		ID:     func(k APIKey) string { return k.ClientID.String() },
		IfNone: "to create one, run \"husk api-key create NAME --service-account ACCOUNT\"",
		List: func(ctx context.Context, c *client.Client, _ Query) iter.Seq2[APIKey, error] {
			return listKeys(ctx, c, *account)
		},
		Find: func(ctx context.Context, c *client.Client, name string) (APIKey, error) {
			return findKey(ctx, c, name, *account)
		},
	}
}
