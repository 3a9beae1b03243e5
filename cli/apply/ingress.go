// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"reflect"

	"husk/cli/manifest"
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
	want.Rules = manifest.CompleteRules(want.Rules)
	hsts := openapi.Value(want.HstsSeconds)
	switch {
	case len(labels) == 0 && hsts == have.HstsSeconds && reflect.DeepEqual(want.Rules, manifest.CompleteRules(have.Rules)):
		return "unchanged", nil
	case a.DryRun == Client:
		return "changed", nil
	}
	_, err = a.Client.Ingresses.Update(ctx, have.ID, openapi.IngressUpdate{Labels: &labels, Rules: &want.Rules, HstsSeconds: &hsts}, a.DryRun == Server)
	return "changed", err
}
