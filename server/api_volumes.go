package server

import (
	"context"

	"husk"
	"husk/openapi"
	"husk/store"
)

// CreateVolume accepts an order for a volume.
func (a api) CreateVolume(ctx context.Context, r openapi.CreateVolumeRequestObject) (openapi.CreateVolumeResponseObject, error) {
	req := requestOf(ctx)
	v, err := a.store.CreateVolume(ctx, req.caller.TenantID, req.idempotency(r.Params.IdempotencyKey), r.Body.Name, labelsOf(r.Body.Labels), r.Body.SizeGiB)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Volume](v)
	return openapi.CreateVolume201JSONResponse{Body: body, Headers: openapi.CreateVolume201ResponseHeaders{ETag: tag(v)}}, err
}

// ListVolumes lists or watches.
func (a api) ListVolumes(ctx context.Context, r openapi.ListVolumesRequestObject) (openapi.ListVolumesResponseObject, error) {
	tenant := tenantOf(ctx)
	filter, err := filterOf(r.Params.Name, r.Params.LabelSelector)
	if err != nil {
		return nil, err
	}
	read := func(p store.Page) ([]husk.Volume, string, error) { return a.store.Volumes(ctx, tenant, p, filter) }
	if valueOf(r.Params.Watch) {
		return watch[husk.Volume, openapi.Volume]{server: a.Server, ctx: ctx, tenant: tenant, hints: a.store.WatchTenant, read: read, id: func(v husk.Volume) store.ID { return v.ID }}, nil
	}
	volumes, next, err := read(pageOf(r.Params.Limit, r.Params.Cursor))
	if err != nil {
		return nil, err
	}
	items, cursor, err := listed[openapi.Volume](volumes, next)
	return openapi.ListVolumes200JSONResponse{Items: items, NextCursor: cursor}, err
}

// GetVolume returns one volume.
func (a api) GetVolume(ctx context.Context, r openapi.GetVolumeRequestObject) (openapi.GetVolumeResponseObject, error) {
	v, err := a.store.Volume(ctx, tenantOf(ctx), r.VolumeID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Volume](v)
	return openapi.GetVolume200JSONResponse{Body: body, Headers: openapi.GetVolume200ResponseHeaders{ETag: tag(v)}}, err
}

// DeleteVolume asks for a volume to be removed.
func (a api) DeleteVolume(ctx context.Context, r openapi.DeleteVolumeRequestObject) (openapi.DeleteVolumeResponseObject, error) {
	v, err := a.store.DeleteVolume(ctx, tenantOf(ctx), r.VolumeID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Volume](v)
	return openapi.DeleteVolume202JSONResponse{Body: body, Headers: openapi.DeleteVolume202ResponseHeaders{ETag: tag(v)}}, err
}
