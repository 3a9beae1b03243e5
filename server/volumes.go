// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"

	"husk"
	"husk/openapi"
	"husk/server/request"
	"husk/server/watch"
)

// CreateVolume accepts a request for a volume.
func (a api) CreateVolume(ctx context.Context, r openapi.CreateVolumeRequestObject) (openapi.CreateVolumeResponseObject, error) {
	req := request.Of(ctx)
	v, err := a.tenant(ctx).CreateVolume(dryRun(ctx, r.Params.DryRun), req.Idempotency(r.Params.IdempotencyKey), r.Body.Name, labelsOf(r.Body.Labels), r.Body.SizeGiB)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Volume](v)
	return openapi.CreateVolume201JSONResponse{Body: body, Headers: openapi.CreateVolume201ResponseHeaders{ETag: request.ETag(v)}}, err
}

// ListVolumes lists or watches volumes.
func (a api) ListVolumes(ctx context.Context, r openapi.ListVolumesRequestObject) (openapi.ListVolumesResponseObject, error) {
	tenant := a.tenant(ctx)
	filter, err := request.Filter(r.Params.Name, r.Params.LabelSelector)
	if err != nil {
		return nil, err
	}
	if openapi.Value(r.Params.Watch) {
		return watching[husk.Volume]{ctx, a.watches.volumes, watch.Watch[husk.Volume]{Match: func(v husk.Volume) bool { return filter.Matches(v.Name, v.Labels) }}}, nil
	}
	volumes, next, err := tenant.Volumes(ctx, request.Page(r.Params.Limit, r.Params.Cursor), filter)
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.Volume](volumes, next)
	return openapi.ListVolumes200JSONResponse{Items: items, NextCursor: cursor}, err
}

// GetVolume returns one volume.
func (a api) GetVolume(ctx context.Context, r openapi.GetVolumeRequestObject) (openapi.GetVolumeResponseObject, error) {
	v, err := a.tenant(ctx).Volume(ctx, r.VolumeID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Volume](v)
	return openapi.GetVolume200JSONResponse{Body: body, Headers: openapi.GetVolume200ResponseHeaders{ETag: request.ETag(v)}}, err
}

// UpdateVolume makes a volume larger.
func (a api) UpdateVolume(ctx context.Context, r openapi.UpdateVolumeRequestObject) (openapi.UpdateVolumeResponseObject, error) {
	v, err := a.tenant(ctx).GrowVolume(ctx, r.VolumeID, r.Body.SizeGiB)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Volume](v)
	return openapi.UpdateVolume200JSONResponse{Body: body, Headers: openapi.UpdateVolume200ResponseHeaders{ETag: request.ETag(v)}}, err
}

// DeleteVolume requests that a volume is removed.
func (a api) DeleteVolume(ctx context.Context, r openapi.DeleteVolumeRequestObject) (openapi.DeleteVolumeResponseObject, error) {
	v, err := a.tenant(ctx).DeleteVolume(ctx, r.VolumeID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Volume](v)
	return openapi.DeleteVolume202JSONResponse{Body: body, Headers: openapi.DeleteVolume202ResponseHeaders{ETag: request.ETag(v)}}, err
}
