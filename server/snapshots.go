// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"

	"husk"
	"husk/openapi"
	"husk/server/request"
	"husk/server/watch"
)

// CreateSnapshot accepts a request for a snapshot of a volume.
func (a api) CreateSnapshot(ctx context.Context, r openapi.CreateSnapshotRequestObject) (openapi.CreateSnapshotResponseObject, error) {
	s, err := a.tenant(ctx).CreateSnapshot(ctx, request.Of(ctx).Idempotency(r.Params.IdempotencyKey), husk.Snapshot{Name: r.Body.Name, Labels: labelsOf(r.Body.Labels), VolumeID: r.Body.VolumeID})
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Snapshot](s)
	return openapi.CreateSnapshot201JSONResponse{Body: body, Headers: openapi.CreateSnapshot201ResponseHeaders{ETag: request.ETag(s)}}, err
}

// ListSnapshots lists or watches snapshots.
func (a api) ListSnapshots(ctx context.Context, r openapi.ListSnapshotsRequestObject) (openapi.ListSnapshotsResponseObject, error) {
	tenant := a.tenant(ctx)
	filter, err := request.Filter(r.Params.Name, r.Params.LabelSelector)
	if err != nil {
		return nil, err
	}
	if openapi.Value(r.Params.Watch) {
		return watching[husk.Snapshot]{ctx, a.watches.snapshots, watch.Watch[husk.Snapshot]{Match: func(s husk.Snapshot) bool { return filter.Matches(s.Name, s.Labels) }}}, nil
	}
	snapshots, next, err := tenant.Snapshots(ctx, request.Page(r.Params.Limit, r.Params.Cursor), filter)
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.Snapshot](snapshots, next)
	return openapi.ListSnapshots200JSONResponse{Items: items, NextCursor: cursor}, err
}

// GetSnapshot returns one snapshot.
func (a api) GetSnapshot(ctx context.Context, r openapi.GetSnapshotRequestObject) (openapi.GetSnapshotResponseObject, error) {
	s, err := a.tenant(ctx).Snapshot(ctx, r.SnapshotID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Snapshot](s)
	return openapi.GetSnapshot200JSONResponse{Body: body, Headers: openapi.GetSnapshot200ResponseHeaders{ETag: request.ETag(s)}}, err
}

// DeleteSnapshot requests that a snapshot is removed.
func (a api) DeleteSnapshot(ctx context.Context, r openapi.DeleteSnapshotRequestObject) (openapi.DeleteSnapshotResponseObject, error) {
	s, err := a.tenant(ctx).DeleteSnapshot(ctx, r.SnapshotID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Snapshot](s)
	return openapi.DeleteSnapshot202JSONResponse{Body: body, Headers: openapi.DeleteSnapshot202ResponseHeaders{ETag: request.ETag(s)}}, err
}
