// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"

	"husk/client"
)

// listers list the names of objects, by kind. Names of the other kinds are not completed.
var listers = map[string]func(ctx context.Context, c *client.Client) ([]string, error){
	"pod":             listerOf(Pods),
	"volume":          listerOf(Volumes),
	"snapshot":        listerOf(Snapshots),
	"image":           listerOf(Images),
	"config":          listerOf(Configs),
	"secret":          listerOf(Secrets),
	"network":         listerOf(Networks),
	"service":         listerOf(Services),
	"ingress":         listerOf(Ingresses),
	"address":         listerOf(Addresses),
	"security-group":  listerOf(SecurityGroups),
	"service-account": listerOf(ServiceAccounts),
	"user":            listerOf(Users),
	"issuer":          listerOf(Issuers),
	"platform-issuer": listerOf(PlatformIssuers),
	"api-key": func(ctx context.Context, c *client.Client) ([]string, error) {
		keys, err := client.Collect(listKeys(ctx, c, ""))
		var names []string
		for _, k := range keys {
			names = append(names, k.ClientID.String()+"\t"+k.Name+" of "+k.account)
		}
		return names, err
	},
}

func listerOf[T any](k Kind[T]) func(ctx context.Context, c *client.Client) ([]string, error) {
	return func(ctx context.Context, c *client.Client) ([]string, error) {
		all, err := client.Collect(k.List(ctx, c, Query{}))
		var names []string
		for _, item := range all {
			names = append(names, k.Name(item))
		}
		return names, err
	}
}

// Listable reports whether [Names] knows the kind.
func Listable(kind string) bool { return listers[kind] != nil }

// Names lists the names of a kind for shell completion. A description may follow a name, separated by a tab.
func Names(ctx context.Context, c *client.Client, kind string) ([]string, error) {
	return listers[kind](ctx, c)
}

// All returns the names of all kinds.
func All() []string {
	var all []string
	for _, w := range words {
		all = append(all, w[0])
	}
	return all
}
