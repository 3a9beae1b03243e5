package server

import (
	"context"

	"husk/openapi"
)

// CreateVolume accepts an order for a volume.
func (a api) CreateVolume(ctx context.Context, r openapi.CreateVolumeRequestObject) (openapi.CreateVolumeResponseObject, error) {
	req := requestOf(ctx)
	v, err := a.store.CreateVolume(ctx, req.caller.TenantID, req.idempotency(r.Params.IdempotencyKey), r.Body.Name, labelsOf(r.Body.Labels), r.Body.SizeGiB)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.CreateVolume201JSONResponse](v)
}

// ListVolumes lists.
func (a api) ListVolumes(ctx context.Context, r openapi.ListVolumesRequestObject) (openapi.ListVolumesResponseObject, error) {
	volumes, next, err := a.store.Volumes(ctx, requestOf(ctx).caller.TenantID, pageOf(r.Params.Limit, r.Params.Cursor), r.Params.Name)
	if err != nil {
		return nil, err
	}
	items, cursor, err := listed[openapi.Volume](volumes, next)
	return openapi.ListVolumes200JSONResponse{Items: items, NextCursor: cursor}, err
}

// GetVolume returns one volume.
func (a api) GetVolume(ctx context.Context, r openapi.GetVolumeRequestObject) (openapi.GetVolumeResponseObject, error) {
	v, err := a.store.Volume(ctx, requestOf(ctx).caller.TenantID, r.VolumeID)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.GetVolume200JSONResponse](v)
}

// DeleteVolume asks for a volume to be removed.
func (a api) DeleteVolume(ctx context.Context, r openapi.DeleteVolumeRequestObject) (openapi.DeleteVolumeResponseObject, error) {
	v, err := a.store.DeleteVolume(ctx, requestOf(ctx).caller.TenantID, r.VolumeID)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.DeleteVolume202JSONResponse](v)
}
