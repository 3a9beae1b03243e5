// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/google/uuid"

	"husk/openapi"
)

// Networks are where pods reach each other.
type Networks struct{ c *Client }

// Create creates a network.
func (n Networks) Create(ctx context.Context, network openapi.NetworkCreate) (openapi.Network, error) {
	return Decode[openapi.Network](n.c.api.CreateNetwork(ctx, &openapi.CreateNetworkParams{IdempotencyKey: newKey()}, network))
}

// DryRun checks whether [Networks.Create] would succeed, and returns the network as it would be created. Nothing is stored.
func (n Networks) DryRun(ctx context.Context, network openapi.NetworkCreate) (openapi.Network, error) {
	return Decode[openapi.Network](n.c.api.CreateNetwork(ctx, &openapi.CreateNetworkParams{DryRun: new(true)}, network))
}

// Get returns a network.
func (n Networks) Get(ctx context.Context, id uuid.UUID) (openapi.Network, error) {
	return Decode[openapi.Network](n.c.api.GetNetwork(ctx, id))
}

// Find returns a network by its name or its ID.
func (n Networks) Find(ctx context.Context, nameOrID string) (openapi.Network, error) {
	return find(nameOrID, "network", IsName,
		func(id uuid.UUID) (openapi.Network, error) { return n.Get(ctx, id) },
		pages[openapi.Network](func(_ *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
			return n.c.api.ListNetworks(ctx, &openapi.ListNetworksParams{Cursor: cursor, Name: &nameOrID})
		}))
}

// List yields the tenant's networks.
func (n Networks) List(ctx context.Context, which Select) iter.Seq2[openapi.Network, error] {
	return pages[openapi.Network](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		return n.c.api.ListNetworks(ctx, &openapi.ListNetworksParams{Limit: limit, Cursor: cursor, LabelSelector: given(which.Labels)})
	})
}

// Watch yields the tenant's networks and then their changes, until ctx ends.
func (n Networks) Watch(ctx context.Context, o WatchOptions) iter.Seq2[Change[openapi.Network], error] {
	w := watcher[openapi.Network]{kind: "network", id: func(n openapi.Network) string { return n.ID.String() }, open: func(ctx context.Context) (*http.Response, error) {
		return n.c.api.ListNetworks(ctx, &openapi.ListNetworksParams{Watch: new(true), LabelSelector: given(o.Labels)})
	}}
	return w.changes(ctx, o)
}

// Update changes the labels of a network. In a dry run, nothing is stored.
func (n Networks) Update(ctx context.Context, id uuid.UUID, change openapi.NetworkUpdate, dryRun bool) (openapi.Network, error) {
	return Decode[openapi.Network](n.c.api.UpdateNetwork(ctx, id, &openapi.UpdateNetworkParams{DryRun: &dryRun}, change))
}

// Delete deletes a network.
func (n Networks) Delete(ctx context.Context, id uuid.UUID) error {
	return done(n.c.api.DeleteNetwork(ctx, id, nil))
}
