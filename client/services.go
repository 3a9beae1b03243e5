// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/google/uuid"

	"husk/openapi"
)

// Services give several pods one name and one address.
type Services struct{ c *Client }

// Create creates a service.
func (s Services) Create(ctx context.Context, service openapi.ServiceCreate) (openapi.Service, error) {
	return Decode[openapi.Service](s.c.api.CreateService(ctx, &openapi.CreateServiceParams{IdempotencyKey: newKey()}, service))
}

// DryRun checks whether [Services.Create] would succeed, and returns the service as it would be created. Nothing is stored.
func (s Services) DryRun(ctx context.Context, service openapi.ServiceCreate) (openapi.Service, error) {
	return Decode[openapi.Service](s.c.api.CreateService(ctx, &openapi.CreateServiceParams{DryRun: new(true)}, service))
}

// Get returns a service.
func (s Services) Get(ctx context.Context, id uuid.UUID) (openapi.Service, error) {
	return Decode[openapi.Service](s.c.api.GetService(ctx, id))
}

// Find returns a service by its name or its ID.
func (s Services) Find(ctx context.Context, nameOrID string) (openapi.Service, error) {
	return find(nameOrID, "service", IsName,
		func(id uuid.UUID) (openapi.Service, error) { return s.Get(ctx, id) },
		pages[openapi.Service](func(_ *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
			return s.c.api.ListServices(ctx, &openapi.ListServicesParams{Cursor: cursor, Name: &nameOrID})
		}))
}

// List yields the tenant's services.
func (s Services) List(ctx context.Context, which Select) iter.Seq2[openapi.Service, error] {
	return pages[openapi.Service](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		return s.c.api.ListServices(ctx, &openapi.ListServicesParams{Limit: limit, Cursor: cursor, LabelSelector: given(which.Labels)})
	})
}

// Watch yields the tenant's services and then their changes, until ctx ends.
func (s Services) Watch(ctx context.Context, o WatchOptions) iter.Seq2[Change[openapi.Service], error] {
	w := watcher[openapi.Service]{kind: "service", id: func(s openapi.Service) string { return s.ID.String() }, open: func(ctx context.Context) (*http.Response, error) {
		return s.c.api.ListServices(ctx, &openapi.ListServicesParams{Watch: new(true), LabelSelector: given(o.Labels)})
	}}
	return w.changes(ctx, o)
}

// Update changes a service. Fields that are nil stay as they are. In a dry run, nothing is stored.
func (s Services) Update(ctx context.Context, id uuid.UUID, change openapi.ServiceUpdate, dryRun bool) (openapi.Service, error) {
	return Decode[openapi.Service](s.c.api.UpdateService(ctx, id, &openapi.UpdateServiceParams{DryRun: &dryRun}, change))
}

// Delete deletes a service.
func (s Services) Delete(ctx context.Context, id uuid.UUID) error {
	return done(s.c.api.DeleteService(ctx, id, nil))
}
