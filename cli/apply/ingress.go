// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"reflect"
	"slices"

	"husk/client"
	"husk/openapi"
)

// ingress creates an ingress, or gives it what the document says.
func (a *Application) ingress(ctx context.Context, want openapi.IngressCreate) (string, error) {
	have, err := a.Client.Ingresses.Find(ctx, want.Name)
	switch {
	case client.IsNotFound(err) && a.DryRun == Client:
		return "created", nil
	case client.IsNotFound(err) && a.DryRun == Server:
		_, err := a.Client.Ingresses.DryRun(ctx, want)
		return "created", err
	case client.IsNotFound(err):
		_, err := a.Client.Ingresses.Create(ctx, want)
		return "created", err
	case err != nil:
		return "", err
	}
	labels := labelChanges(openapi.Value(want.Labels), have.Labels)
	want.Rules = withPaths(want.Rules)
	hsts := openapi.Value(want.HstsSeconds)
	switch {
	case len(labels) == 0 && hsts == have.HstsSeconds && reflect.DeepEqual(want.Rules, withPaths(have.Rules)):
		return "unchanged", nil
	case a.DryRun == Client:
		return "changed", nil
	}
	_, err = a.Client.Ingresses.Update(ctx, have.ID, openapi.IngressUpdate{Labels: &labels, Rules: &want.Rules, HstsSeconds: &hsts}, a.DryRun == Server)
	return "changed", err
}

// withPaths returns rules with what applies if a document leaves it out.
func withPaths(rules openapi.IngressRules) openapi.IngressRules {
	rules = slices.Clone(rules)
	for i := range rules {
		rules[i].Paths = slices.Clone(rules[i].Paths)
		for n := range rules[i].Paths {
			if rules[i].Paths[n].Path == nil {
				rules[i].Paths[n].Path = new("/")
			}
			if !openapi.Value(rules[i].Paths[n].Exact) {
				rules[i].Paths[n].Exact = nil
			}
		}
	}
	return rules
}
