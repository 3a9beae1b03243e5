// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"strings"

	"husk/cli/exit"
	"husk/cli/manifest"
	"husk/client"
	"husk/openapi"
)

// network creates a network, or gives it the labels that the document says.
func (a *Application) network(ctx context.Context, want openapi.NetworkCreate) (string, error) {
	have, err := a.Client.Networks.Find(ctx, want.Name)
	switch {
	case client.IsNotFound(err) && a.DryRun == Client:
		return "created", nil
	case client.IsNotFound(err) && a.DryRun == Server:
		_, err := a.Client.Networks.DryRun(ctx, want)
		return "created", err
	case client.IsNotFound(err):
		_, err := a.Client.Networks.Create(ctx, want)
		return "created", err
	case err != nil:
		return "", err
	}
	labels := labelChanges(openapi.Value(want.Labels), have.Labels)
	if differ := manifest.DiffNetwork(want, have); len(differ) > 0 {
		return "", exit.ConflictError{Detail: "the network exists and differs in " + strings.Join(differ, ", ") + ", which cannot be changed; delete the network, then apply again"}
	}
	switch {
	case len(labels) == 0:
		return "unchanged", nil
	case a.DryRun == Client:
		return "changed", nil
	}
	_, err = a.Client.Networks.Update(ctx, have.ID, openapi.NetworkUpdate{Labels: &labels}, a.DryRun == Server)
	return "changed", err
}
