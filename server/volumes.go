// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"

	"husk"
	"husk/openapi"
	"husk/server/request"
	"husk/server/watch"
	"husk/store/convert"
	"husk/store/disks"
)

// CreateVolume accepts a request for a volume.
func (a api) CreateVolume(ctx context.Context, r openapi.CreateVolumeRequestObject) (openapi.CreateVolumeResponseObject, error) {
	req := request.Of(ctx)
	volume := husk.Volume{Name: r.Body.Name, Labels: labelsOf(r.Body.Labels), SizeGiB: r.Body.SizeGiB, FSType: string(openapi.Value(r.Body.FsType)), Flatten: openapi.Value(r.Body.Flatten)}
	volume.Class = openapi.Value(r.Body.Class)
	volume.Encrypted, volume.Unencrypted = openapi.Value(r.Body.Encrypted), r.Body.Encrypted != nil && !*r.Body.Encrypted
	volume.Schedule = scheduleOf(r.Body.SnapshotSchedule)
	if r.Body.Source != nil {
		volume.Source = &husk.VolumeSource{SnapshotID: r.Body.Source.SnapshotID}
	}
	v, err := a.tenant(ctx).AddVolume(dryRun(ctx, r.Params.DryRun), req.Idempotency(r.Params.IdempotencyKey), volume)
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

// scheduleOf returns a schedule of a request with its default.
func scheduleOf(s *openapi.SnapshotSchedule) *husk.SnapshotSchedule {
	if s == nil {
		return nil
	}
	return &husk.SnapshotSchedule{EveryMinutes: s.EveryMinutes, Keep: cmp.Or(openapi.Value(s.Keep), husk.DefaultSnapshotsKept)}
}

// UpdateVolume makes a volume larger, or changes its class or its schedule of snapshots.
func (a api) UpdateVolume(ctx context.Context, r openapi.UpdateVolumeRequestObject) (openapi.UpdateVolumeResponseObject, error) {
	v, err := a.tenant(ctx).UpdateVolume(ctx, r.VolumeID, r.Body.SizeGiB, scheduleOf(r.Body.SnapshotSchedule), r.Body.Class)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Volume](v)
	return openapi.UpdateVolume200JSONResponse{Body: body, Headers: openapi.UpdateVolume200ResponseHeaders{ETag: request.ETag(v)}}, err
}

// ListVolumeClasses lists the classes that volumes can have.
func (a api) ListVolumeClasses(ctx context.Context, _ openapi.ListVolumeClassesRequestObject) (openapi.ListVolumeClassesResponseObject, error) {
	classes, err := a.tenant(ctx).VolumeClasses(ctx)
	if err != nil {
		return nil, err
	}
	items, _, err := request.Listed[openapi.VolumeClass](classes, "")
	return openapi.ListVolumeClasses200JSONResponse{Items: items}, err
}

// AdminListVolumeClasses lists the classes with how many volumes have each.
func (a api) AdminListVolumeClasses(ctx context.Context, _ openapi.AdminListVolumeClassesRequestObject) (openapi.AdminListVolumeClassesResponseObject, error) {
	classes, err := a.control.Copies().Classes(ctx)
	if err != nil {
		return nil, err
	}
	items, _, err := request.Listed[openapi.VolumeClass](convert.All(classes, func(c disks.ClassUse) husk.VolumeClass { return c.VolumeClass }), "")
	return openapi.AdminListVolumeClasses200JSONResponse{Items: items}, err
}

// PutVolumeClass creates or changes a volume class.
func (a api) PutVolumeClass(ctx context.Context, r openapi.PutVolumeClassRequestObject) (openapi.PutVolumeClassResponseObject, error) {
	class, err := a.control.Copies().PutClass(ctx, husk.VolumeClass{
		Name: r.Class, DiskLimits: husk.DiskLimits{IOPS: r.Body.Iops, MiBPerSecond: r.Body.MibPerSecond}, Default: openapi.Value(r.Body.Default),
	})
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.PutVolumeClass200JSONResponse](class)
}

// DeleteVolumeClass deletes a volume class that no volume has.
func (a api) DeleteVolumeClass(ctx context.Context, r openapi.DeleteVolumeClassRequestObject) (openapi.DeleteVolumeClassResponseObject, error) {
	return openapi.DeleteVolumeClass204Response{}, a.control.Copies().DeleteClass(ctx, r.Class)
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

// RestoreVolume makes the content of a volume that of a snapshot.
func (a api) RestoreVolume(ctx context.Context, r openapi.RestoreVolumeRequestObject) (openapi.RestoreVolumeResponseObject, error) {
	v, err := a.tenant(ctx).RestoreVolume(ctx, request.Of(ctx).Idempotency(r.Params.IdempotencyKey), r.VolumeID, r.Body.SnapshotID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Volume](v)
	return openapi.RestoreVolume202JSONResponse{Body: body, Headers: openapi.RestoreVolume202ResponseHeaders{ETag: request.ETag(v)}}, err
}

// CreateSnapshot accepts a request for a snapshot of a volume.
func (a api) CreateSnapshot(ctx context.Context, r openapi.CreateSnapshotRequestObject) (openapi.CreateSnapshotResponseObject, error) {
	s, err := a.tenant(ctx).CreateSnapshot(ctx, request.Of(ctx).Idempotency(r.Params.IdempotencyKey), husk.Snapshot{Name: r.Body.Name, Labels: labelsOf(r.Body.Labels), VolumeID: r.Body.VolumeID, Consistent: openapi.Value(r.Body.Consistent)})
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
