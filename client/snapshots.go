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

// Snapshots are contents of snapshots at one moment.
type Snapshots struct{ c *Client }

// Create starts the creation of a snapshot of a snapshot.
func (s Snapshots) Create(ctx context.Context, snapshot openapi.SnapshotCreate) (openapi.Snapshot, error) {
	return Decode[openapi.Snapshot](s.c.api.CreateSnapshot(ctx, &openapi.CreateSnapshotParams{IdempotencyKey: newKey()}, snapshot))
}

// Get returns a snapshot.
func (s Snapshots) Get(ctx context.Context, id uuid.UUID) (openapi.Snapshot, error) {
	return Decode[openapi.Snapshot](s.c.api.GetSnapshot(ctx, id))
}

// Find returns a snapshot by its name or its ID.
func (s Snapshots) Find(ctx context.Context, nameOrID string) (openapi.Snapshot, error) {
	return find(nameOrID, "snapshot", IsName,
		func(id uuid.UUID) (openapi.Snapshot, error) { return s.Get(ctx, id) },
		pages[openapi.Snapshot](func(_ *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
			return s.c.api.ListSnapshots(ctx, &openapi.ListSnapshotsParams{Cursor: cursor, Name: &nameOrID})
		}))
}

// List yields the tenant's snapshots.
func (s Snapshots) List(ctx context.Context, which Select) iter.Seq2[openapi.Snapshot, error] {
	return pages[openapi.Snapshot](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		return s.c.api.ListSnapshots(ctx, &openapi.ListSnapshotsParams{Limit: limit, Cursor: cursor, LabelSelector: given(which.Labels)})
	})
}

// Watch yields the tenant's snapshots and then their changes, until ctx ends.
func (s Snapshots) Watch(ctx context.Context, o WatchOptions) iter.Seq2[Change[openapi.Snapshot], error] {
	w := watcher[openapi.Snapshot]{kind: "snapshot", id: func(s openapi.Snapshot) string { return s.ID.String() }, open: func(ctx context.Context) (*http.Response, error) {
		return s.c.api.ListSnapshots(ctx, &openapi.ListSnapshotsParams{Watch: new(true), LabelSelector: given(o.Labels)})
	}}
	return w.changes(ctx, o)
}

// Wait reads the snapshot until done returns true or an error. ctx bounds how long that may take.
func (s Snapshots) Wait(ctx context.Context, id uuid.UUID, done func(openapi.Snapshot) (bool, error)) (openapi.Snapshot, error) {
	return wait(ctx, func() (openapi.Snapshot, error) { return s.Get(ctx, id) }, done)
}

// Delete starts the deletion of a snapshot. [Snapshots.Get] still returns the snapshot until it is deleted.
func (s Snapshots) Delete(ctx context.Context, id uuid.UUID) error {
	return done(s.c.api.DeleteSnapshot(ctx, id, nil))
}

// Export returns the content of a snapshot in the format of package rbddiff, whose Reader notices if it is not complete. Close it.
func (s Snapshots) Export(ctx context.Context, id uuid.UUID) (io.ReadCloser, error) {
	resp, err := s.c.api.ExportSnapshot(ctx, id)
	if err := Check(resp, err); err != nil {
		return nil, err
	}
	return resp.Body, nil
}
