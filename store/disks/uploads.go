// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store/db"
)

// UploadLease is how long an upload lasts that is not renewed. The server that receives it renews it while the content arrives.
const UploadLease = 2 * time.Minute

// uploadsAtOnce is how many uploads one pass ends.
const uploadsAtOnce = 100

// RenewUpload lets an upload continue, as a request of its tenant. Codes: not_found (the volume was deleted, or the upload has ended).
func RenewUpload(ctx context.Context, q *db.Queries, tenant, id uuid.UUID) error {
	n, err := q.RenewUpload(ctx, db.RenewUploadParams{TenantID: tenant, ID: id, Seconds: UploadLease.Seconds()})
	if err == nil && n == 0 {
		err = errors.Join(husk.NotFound("volume"), ErrNoUpload)
	}
	return err
}

// ErrNoUpload means that a volume is not being uploaded any more.
var ErrNoUpload = errors.New("the volume is not being uploaded")

// Uploaded records that all content has arrived, with this file system in it. Codes: not_found (the volume is gone or is being deleted).
func (c Copies) Uploaded(ctx context.Context, tenant, id uuid.UUID, fsType, rbdID string, header map[string][]byte) error {
	return c.Do(ctx, func(q *db.Queries) error {
		n, err := q.SetUploaded(ctx, db.SetUploadedParams{TenantID: tenant, ID: id, FsType: fsType})
		if err == nil && n == 0 {
			err = errors.Join(husk.NotFound("volume"), ErrNoUpload)
		}
		if err != nil {
			return err
		}
		if _, err := Made(ctx, q, tenant, id, rbdID, header); err != nil {
			return err
		}
		return c.Record(ctx, q, tenant, "volume", id, "Available", "")
	})
}

// EndUpload marks the volume of an upload that has failed for deletion.
func (c Copies) EndUpload(ctx context.Context, tenant, id uuid.UUID, why string) error {
	return c.Do(ctx, func(q *db.Queries) error {
		n, err := q.EndUpload(ctx, db.EndUploadParams{TenantID: tenant, ID: id})
		if err != nil || n == 0 {
			return err
		}
		return c.Record(ctx, q, tenant, "volume", id, "UploadFailed", why)
	})
}

// EndUploads does so for all uploads that nobody continues, because the server that received them has ended.
func (c Copies) EndUploads(ctx context.Context) error {
	var ended []db.UploadsToEndRow
	err := c.Do(ctx, func(q *db.Queries) (err error) {
		ended, err = q.UploadsToEnd(ctx, uploadsAtOnce)
		return err
	})
	for _, u := range ended {
		if err == nil {
			err = c.EndUpload(ctx, u.TenantID, u.ID, "the server that received the content has ended")
		}
	}
	return err
}
