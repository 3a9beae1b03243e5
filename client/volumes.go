// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"io"
	"iter"
	"net/http"

	"github.com/google/uuid"

	"husk/openapi"
)

// Volumes are block devices with a file system, which pods mount.
type Volumes struct{ c *Client }

// Create creates a volume with an empty file system, or with the content of a snapshot.
func (v Volumes) Create(ctx context.Context, volume openapi.VolumeCreate) (openapi.Volume, error) {
	return Decode[openapi.Volume](v.c.api.CreateVolume(ctx, &openapi.CreateVolumeParams{IdempotencyKey: newKey()}, volume))
}

// DryRun checks whether [Volumes.Create] would succeed, and returns the volume as it would be created. Nothing is stored.
func (v Volumes) DryRun(ctx context.Context, volume openapi.VolumeCreate) (openapi.Volume, error) {
	return Decode[openapi.Volume](v.c.api.CreateVolume(ctx, &openapi.CreateVolumeParams{DryRun: new(true)}, volume))
}

// Get returns a volume.
func (v Volumes) Get(ctx context.Context, id uuid.UUID) (openapi.Volume, error) {
	return Decode[openapi.Volume](v.c.api.GetVolume(ctx, id))
}

// Find returns a volume by its name or its ID.
func (v Volumes) Find(ctx context.Context, nameOrID string) (openapi.Volume, error) {
	return find(nameOrID, "volume", IsName,
		func(id uuid.UUID) (openapi.Volume, error) { return v.Get(ctx, id) },
		pages[openapi.Volume](func(_ *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
			return v.c.api.ListVolumes(ctx, &openapi.ListVolumesParams{Cursor: cursor, Name: &nameOrID})
		}))
}

// List yields the tenant's volumes.
func (v Volumes) List(ctx context.Context, which Select) iter.Seq2[openapi.Volume, error] {
	return pages[openapi.Volume](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		return v.c.api.ListVolumes(ctx, &openapi.ListVolumesParams{Limit: limit, Cursor: cursor, LabelSelector: given(which.Labels)})
	})
}

// Watch yields the tenant's volumes and then their changes, until ctx ends.
func (v Volumes) Watch(ctx context.Context, o WatchOptions) iter.Seq2[Change[openapi.Volume], error] {
	w := watcher[openapi.Volume]{kind: "volume", id: func(v openapi.Volume) string { return v.ID.String() }, open: func(ctx context.Context) (*http.Response, error) {
		return v.c.api.ListVolumes(ctx, &openapi.ListVolumesParams{Watch: new(true), LabelSelector: given(o.Labels)})
	}}
	return w.changes(ctx, o)
}

// Wait reads the volume until done returns true or an error. ctx bounds how long that may take.
func (v Volumes) Wait(ctx context.Context, id uuid.UUID, done func(openapi.Volume) (bool, error)) (openapi.Volume, error) {
	return wait(ctx, func() (openapi.Volume, error) { return v.Get(ctx, id) }, done)
}

// Update changes the size, the class or the schedule of a volume. What is left out stays as it is.
func (v Volumes) Update(ctx context.Context, id uuid.UUID, change openapi.VolumeUpdate) (openapi.Volume, error) {
	return Decode[openapi.Volume](v.c.api.UpdateVolume(ctx, id, nil, change))
}

// Grow makes a volume larger, also while a pod uses it. The file system follows within seconds if the pod runs, and otherwise when the next pod mounts
// the volume.
func (v Volumes) Grow(ctx context.Context, id uuid.UUID, sizeGiB int) (openapi.Volume, error) {
	return Decode[openapi.Volume](v.c.api.UpdateVolume(ctx, id, nil, openapi.VolumeUpdate{SizeGiB: &sizeGiB}))
}

// Schedule changes how often Husk takes snapshots of the volume, and how many of them it keeps.
func (v Volumes) Schedule(ctx context.Context, id uuid.UUID, s openapi.SnapshotSchedule) (openapi.Volume, error) {
	return Decode[openapi.Volume](v.c.api.UpdateVolume(ctx, id, nil, openapi.VolumeUpdate{SnapshotSchedule: &s}))
}

// Import creates a volume with this content, in the format of package rbddiff. It sends the content as it is read.
func (v Volumes) Import(ctx context.Context, p openapi.ImportVolumeParams, content io.Reader) (openapi.Volume, error) {
	return Decode[openapi.Volume](v.c.api.ImportVolumeWithBody(ctx, &p, "application/octet-stream", content))
}

// SetClass gives the volume another class, also while a pod uses it.
func (v Volumes) SetClass(ctx context.Context, id uuid.UUID, class string) (openapi.Volume, error) {
	return Decode[openapi.Volume](v.c.api.UpdateVolume(ctx, id, nil, openapi.VolumeUpdate{Class: &class}))
}

// Classes returns the classes that volumes can have.
func (v Volumes) Classes(ctx context.Context) ([]openapi.VolumeClass, error) {
	l, err := Decode[openapi.VolumeClassList](v.c.api.ListVolumeClasses(ctx))
	return l.Items, err
}

// ClassesWithUse returns the classes with the number of their volumes. For operators.
func (v Volumes) ClassesWithUse(ctx context.Context) ([]openapi.VolumeClass, error) {
	l, err := Decode[openapi.VolumeClassList](v.c.api.AdminListVolumeClasses(ctx))
	return l.Items, err
}

// PutClass creates a class or changes it. For operators.
func (v Volumes) PutClass(ctx context.Context, name string, class openapi.VolumeClassPut) (openapi.VolumeClass, error) {
	return Decode[openapi.VolumeClass](v.c.api.PutVolumeClass(ctx, name, class))
}

// DeleteClass deletes a class that no volume has. For operators.
func (v Volumes) DeleteClass(ctx context.Context, name string) error {
	return done(v.c.api.DeleteVolumeClass(ctx, name))
}

// Restore makes the content of a volume that of a snapshot. The volume is Available again once it has that content. No pod may claim it.
func (v Volumes) Restore(ctx context.Context, id, snapshot uuid.UUID) (openapi.Volume, error) {
	return Decode[openapi.Volume](v.c.api.RestoreVolume(ctx, id, &openapi.RestoreVolumeParams{IdempotencyKey: newKey()}, openapi.VolumeRestore{SnapshotID: snapshot}))
}

// Delete starts the deletion of a volume and its data. [Volumes.Get] still returns the volume until it is deleted.
func (v Volumes) Delete(ctx context.Context, id uuid.UUID) error {
	return done(v.c.api.DeleteVolume(ctx, id, nil))
}
