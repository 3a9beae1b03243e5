// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/google/uuid"

	"husk/openapi"
)

// Ingresses make ingresses reachable from outside, over HTTPS.
type Ingresses struct{ c *Client }

// Create creates an ingress.
func (i Ingresses) Create(ctx context.Context, ingress openapi.IngressCreate) (openapi.Ingress, error) {
	return Decode[openapi.Ingress](i.c.api.CreateIngress(ctx, &openapi.CreateIngressParams{IdempotencyKey: newKey()}, ingress))
}

// DryRun checks whether [Ingresses.Create] would succeed, and returns the ingress as it would be created. Nothing is stored.
func (i Ingresses) DryRun(ctx context.Context, ingress openapi.IngressCreate) (openapi.Ingress, error) {
	return Decode[openapi.Ingress](i.c.api.CreateIngress(ctx, &openapi.CreateIngressParams{DryRun: new(true)}, ingress))
}

// Get returns an ingress.
func (i Ingresses) Get(ctx context.Context, id uuid.UUID) (openapi.Ingress, error) {
	return Decode[openapi.Ingress](i.c.api.GetIngress(ctx, id))
}

// Find returns an ingress by its name or its ID.
func (i Ingresses) Find(ctx context.Context, nameOrID string) (openapi.Ingress, error) {
	return find(nameOrID, "ingress", IsName,
		func(id uuid.UUID) (openapi.Ingress, error) { return i.Get(ctx, id) },
		pages[openapi.Ingress](func(_ *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
			return i.c.api.ListIngresses(ctx, &openapi.ListIngressesParams{Cursor: cursor, Name: &nameOrID})
		}))
}

// List yields the tenant's ingresses.
func (i Ingresses) List(ctx context.Context, which Select) iter.Seq2[openapi.Ingress, error] {
	return pages[openapi.Ingress](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		return i.c.api.ListIngresses(ctx, &openapi.ListIngressesParams{Limit: limit, Cursor: cursor, LabelSelector: given(which.Labels)})
	})
}

// Watch yields the tenant's ingresses and then their changes, until ctx ends.
func (i Ingresses) Watch(ctx context.Context, o WatchOptions) iter.Seq2[Change[openapi.Ingress], error] {
	w := watcher[openapi.Ingress]{kind: "ingress", id: func(o openapi.Ingress) string { return o.ID.String() }, open: func(ctx context.Context) (*http.Response, error) {
		return i.c.api.ListIngresses(ctx, &openapi.ListIngressesParams{Watch: new(true), LabelSelector: given(o.Labels)})
	}}
	return w.changes(ctx, o)
}

// Update changes an ingress. Fields that are nil stay as they are. In a dry run, nothing is stored.
func (i Ingresses) Update(ctx context.Context, id uuid.UUID, change openapi.IngressUpdate, dryRun bool) (openapi.Ingress, error) {
	return Decode[openapi.Ingress](i.c.api.UpdateIngress(ctx, id, &openapi.UpdateIngressParams{DryRun: &dryRun}, change))
}

// Delete deletes an ingress.
func (i Ingresses) Delete(ctx context.Context, id uuid.UUID) error {
	return done(i.c.api.DeleteIngress(ctx, id, nil))
}

// Requests returns the latest requests to an ingress, of those after one, oldest first.
func (i Ingresses) Requests(ctx context.Context, id uuid.UUID, after int64, limit int) ([]openapi.IngressRequest, error) {
	list, err := Decode[openapi.IngressRequestList](i.c.api.ListIngressRequests(ctx, id, &openapi.ListIngressRequestsParams{After: &after, Limit: &limit}))
	return list.Items, err
}
