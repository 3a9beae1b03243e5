// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/google/uuid"

	"husk/openapi"
)

// Configs are configs and secrets: named values that pods read as variables and files.
type Configs struct{ c *Client }

// Create creates a config or a secret.
func (x Configs) Create(ctx context.Context, config openapi.ConfigCreate) (openapi.Config, error) {
	return Decode[openapi.Config](x.c.api.CreateConfig(ctx, &openapi.CreateConfigParams{IdempotencyKey: newKey()}, config))
}

// DryRun checks whether [Configs.Create] would succeed, and returns the object as it would be created. Nothing is stored.
func (x Configs) DryRun(ctx context.Context, config openapi.ConfigCreate) (openapi.Config, error) {
	return Decode[openapi.Config](x.c.api.CreateConfig(ctx, &openapi.CreateConfigParams{DryRun: new(true)}, config))
}

// Get returns a config with its values, or a secret without them.
func (x Configs) Get(ctx context.Context, id uuid.UUID) (openapi.Config, error) {
	return Decode[openapi.Config](x.c.api.GetConfig(ctx, id))
}

// Find returns a config or a secret by its name or its ID, as [Configs.Get] does.
func (x Configs) Find(ctx context.Context, kind openapi.ConfigKind, nameOrID string) (openapi.Config, error) {
	found, err := find(nameOrID, nouns[kind], IsName,
		func(id uuid.UUID) (openapi.Config, error) { return x.Get(ctx, id) },
		pages[openapi.Config](func(_ *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
			return x.c.api.ListConfigs(ctx, &openapi.ListConfigsParams{Cursor: cursor, Name: &nameOrID, Kind: &kind})
		}))
	if err != nil || kind == openapi.ConfigKindSecret || found.Values != nil || found.BinaryValues != nil {
		return found, err
	}
	return x.Get(ctx, found.ID) // a list has no values
}

var nouns = map[openapi.ConfigKind]string{openapi.ConfigKindConfig: "config", openapi.ConfigKindSecret: "secret"}

// List yields the tenant's configs or secrets, without their values.
func (x Configs) List(ctx context.Context, kind openapi.ConfigKind, which Select) iter.Seq2[openapi.Config, error] {
	return pages[openapi.Config](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		return x.c.api.ListConfigs(ctx, &openapi.ListConfigsParams{Limit: limit, Cursor: cursor, Kind: &kind, LabelSelector: given(which.Labels)})
	})
}

// Update changes labels and values: keys that are left out keep their values, and nil removes a key. Pods that use the object get the new
// values. In a dry run, nothing is stored.
func (x Configs) Update(ctx context.Context, id uuid.UUID, change openapi.ConfigUpdate, dryRun bool) (openapi.Config, error) {
	return Decode[openapi.Config](x.c.api.UpdateConfig(ctx, id, &openapi.UpdateConfigParams{DryRun: &dryRun}, change))
}

// Delete deletes a config or a secret that no pod uses.
func (x Configs) Delete(ctx context.Context, id uuid.UUID) error {
	return done(x.c.api.DeleteConfig(ctx, id, nil))
}
