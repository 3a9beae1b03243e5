// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"

	"husk"
	"husk/openapi"
	"husk/server/request"
)

// CreateConfig stores a config or a secret.
func (a api) CreateConfig(ctx context.Context, r openapi.CreateConfigRequestObject) (openapi.CreateConfigResponseObject, error) {
	values, err := husk.Values(nil).Changed(openapi.Value(r.Body.Values), openapi.Value(r.Body.BinaryValues))
	if err != nil {
		return nil, err
	}
	c, err := a.tenant(ctx).CreateConfig(dryRun(ctx, r.Params.DryRun), request.Of(ctx).Idempotency(r.Params.IdempotencyKey),
		husk.Config{Kind: husk.ConfigKind(r.Body.Kind), Name: r.Body.Name, Labels: labelsOf(r.Body.Labels)}, values)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Config](c)
	return openapi.CreateConfig201JSONResponse{Body: body, Headers: openapi.CreateConfig201ResponseHeaders{ETag: request.ETag(c)}}, err
}

// ListConfigs lists configs and secrets without their values.
func (a api) ListConfigs(ctx context.Context, r openapi.ListConfigsRequestObject) (openapi.ListConfigsResponseObject, error) {
	filter, err := request.Filter(r.Params.Name, r.Params.LabelSelector)
	if err != nil {
		return nil, err
	}
	configs, next, err := a.tenant(ctx).Configs(ctx, request.Page(r.Params.Limit, r.Params.Cursor), (*string)(r.Params.Kind), filter)
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.Config](configs, next)
	return openapi.ListConfigs200JSONResponse{Items: items, NextCursor: cursor}, err
}

// GetConfig returns a config with its values, or a secret without them.
func (a api) GetConfig(ctx context.Context, r openapi.GetConfigRequestObject) (openapi.GetConfigResponseObject, error) {
	c, err := a.tenant(ctx).Config(ctx, r.ConfigID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Config](c)
	return openapi.GetConfig200JSONResponse{Body: body, Headers: openapi.GetConfig200ResponseHeaders{ETag: request.ETag(c)}}, err
}

// UpdateConfig changes labels and values. Running pods get the new values.
func (a api) UpdateConfig(ctx context.Context, r openapi.UpdateConfigRequestObject) (openapi.UpdateConfigResponseObject, error) {
	c, err := a.tenant(ctx).UpdateConfig(dryRun(ctx, r.Params.DryRun), r.ConfigID, openapi.Value(r.Body.Labels), func(v husk.Values) (husk.Values, error) {
		return v.Changed(openapi.Value(r.Body.Values), openapi.Value(r.Body.BinaryValues))
	})
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Config](c)
	return openapi.UpdateConfig200JSONResponse{Body: body, Headers: openapi.UpdateConfig200ResponseHeaders{ETag: request.ETag(c)}}, err
}

// DeleteConfig deletes a config or a secret that no pod uses.
func (a api) DeleteConfig(ctx context.Context, r openapi.DeleteConfigRequestObject) (openapi.DeleteConfigResponseObject, error) {
	return openapi.DeleteConfig204Response{}, a.tenant(ctx).DeleteConfig(ctx, r.ConfigID)
}
