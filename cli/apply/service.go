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
	case client.IsNotFound(err) && (a.DryRun == Client || a.dry() && a.arePlanned(openapi.Value(want.SecurityGroups))):
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
	case a.DryRun == Client, a.dry() && a.arePlanned(openapi.Value(want.SecurityGroups)):
		return "changed", nil
	}
	whole := manifest.CompleteService(want)
	now, err := a.Client.Services.Update(ctx, have.ID, openapi.ServiceUpdate{
		Labels: &labels, Selector: &whole.Selector, Ports: whole.Ports, Affinity: whole.Affinity, AffinityTimeoutSeconds: whole.AffinityTimeoutSeconds,
		SecurityGroups: new(append(openapi.ServiceSecurityGroups{}, openapi.Value(want.SecurityGroups)...)),
	}, a.DryRun == Server)
	if err == nil && len(labels) == 0 && now.Selector == have.Selector && slices.Equal(differ, []string{"selector"}) { // it was written in another way
		return "unchanged", nil
	}
	return "changed", err
}

// address creates a floating address, or lets it lead to what the document says.
func (a *Application) address(ctx context.Context, want manifest.Address) (string, error) {
	have, err := a.Client.Addresses.Find(ctx, want.Name)
	exists := err == nil
	if err != nil && !client.IsNotFound(err) {
		return "", err
	}
	if a.targets["service/"+want.Service] || a.targets["pod/"+want.Pod] { // they may not exist yet, so that the API cannot check the address
		if exists {
			return "unchanged", nil
		}
		return "created", nil
	}
	target := openapi.Value(want.Target)
	switch {
	case want.Service != "":
		s, err := a.Client.Services.Find(ctx, want.Service)
		if err != nil {
			return "", err
		}
		target.ServiceID = &s.ID
	case want.Pod != "":
		p, err := a.Client.Pods.Find(ctx, want.Pod)
		if err != nil {
			return "", err
		}
		target.PodID = &p.ID
	}
	want.Target = &target
	labels := labelChanges(openapi.Value(want.Labels), have.Labels)
	change := openapi.AddressUpdate{Labels: &labels, Target: &target, DeleteWithTarget: want.DeleteWithTarget}
	switch {
	case !exists && a.DryRun == Client:
		return "created", nil
	case !exists && a.DryRun == Server:
		_, err := a.Client.Addresses.DryRun(ctx, want.AddressCreate)
		return "created", err
	case !exists:
		_, err := a.Client.Addresses.Create(ctx, want.AddressCreate)
		return "created", err
	case len(labels)+len(manifest.DiffAddress(want, have)) == 0:
		return "unchanged", nil
	case a.DryRun == Client:
		return "changed", nil
	}
	_, err = a.Client.Addresses.Update(ctx, have.ID, change, a.DryRun == Server)
	return "changed", err
}
