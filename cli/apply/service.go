// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"slices"

	"husk/cli/exit"
	"husk/cli/manifest"
	"husk/client"
	"husk/openapi"
)

// service creates a service, or gives it what the document says.
func (a *Application) service(ctx context.Context, want openapi.ServiceCreate) (string, error) {
	have, err := a.Client.Services.Find(ctx, want.Name)
	switch {
	case client.IsNotFound(err) && a.DryRun == Client:
		return "created", nil
	case client.IsNotFound(err) && a.DryRun == Server:
		_, err := a.Client.Services.DryRun(ctx, want)
		return "created", err
	case client.IsNotFound(err):
		_, err := a.Client.Services.Create(ctx, want)
		return "created", err
	case err != nil:
		return "", err
	}
	labels := labelChanges(openapi.Value(want.Labels), have.Labels)
	differ := manifest.DiffService(want, have)
	switch {
	case slices.Contains(differ, "headless"):
		return "", exit.ConflictError{Detail: "the service exists and differs in headless, which cannot be changed; delete the service, then apply again"}
	case len(labels)+len(differ) == 0:
		return "unchanged", nil
	case a.DryRun == Client:
		return "changed", nil
	}
	whole := manifest.CompleteService(want)
	now, err := a.Client.Services.Update(ctx, have.ID, openapi.ServiceUpdate{
		Labels: &labels, Selector: &whole.Selector, Ports: whole.Ports, Affinity: whole.Affinity, AffinityTimeoutSeconds: whole.AffinityTimeoutSeconds,
	}, a.DryRun == Server)
	if err == nil && len(labels) == 0 && now.Selector == have.Selector && slices.Equal(differ, []string{"selector"}) { // it was written in another way
		return "unchanged", nil
	}
	return "changed", err
}
