// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/admission"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/hints"
	"husk/store/pgerr"
	"husk/store/repeats"
)

// RegistryAuth holds the credentials for a registry. They are stored sealed, and only until the import ends.
type RegistryAuth struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// CreateImage accepts a request to import an image. The caller has resolved the reference to a digest with the tenant's own credentials.
// The same reference and digest give the same image; a failed import is retried. Codes: quota_exceeded, conflict.
func (t Tenant) CreateImage(ctx context.Context, idem Idempotency, reference, digest string, config husk.ImageConfig, auth *RegistryAuth) (husk.Image, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Image, error) {
		tenant, err := q.LockTenant(ctx, t.id)
		if err != nil {
			return husk.Image{}, pgerr.NotFound(err, "tenant")
		}
		return repeats.Once(ctx, q, t.id, idem, func() (ID, husk.Image, error) {
			row, err := q.FindImage(ctx, db.FindImageParams{TenantID: t.id, Reference: reference, Digest: digest})
			known := err == nil
			if err != nil && !errors.Is(err, pgx.ErrNoRows) {
				return row.ID, husk.Image{}, err
			}
			switch {
			case known && row.State == husk.ImageDeleting:
				return row.ID, husk.Image{}, husk.Errorf(husk.CodeConflict, "reference", "image %q is being deleted; import it again when it is deleted", reference)
			case known && row.State != husk.ImageFailed:
				return row.ID, convert.Image(row), audit(ctx, q, t.id, "image", row.ID.String())
			}
			id := uuid.New()
			if known {
				id = row.ID
			}
			sealed, err := t.sealAuth(ctx, q, t.id, auth, id)
			if err != nil {
				return id, husk.Image{}, err
			}
			if known {
				row, err = q.RetryImage(ctx, db.RetryImageParams{TenantID: t.id, ID: id, RegistryAuth: sealed})
			} else {
				var used int
				if used, err = q.ImageUse(ctx, t.id); err == nil {
					err = admission.Quota("", "images", used, 1, tenant.QuotaImages)
				}
				if err != nil {
					return id, husk.Image{}, err
				}
				row, err = q.InsertImage(ctx, db.InsertImageParams{
					TenantID: t.id, ID: id, Reference: reference, Digest: digest, Config: config, RegistryAuth: sealed,
				})
			}
			if err != nil {
				return id, husk.Image{}, err
			}
			return id, convert.Image(row), requested(ctx, q, t.id, "image", id, "ImportRequested", reference)
		}, func(id ID) (husk.Image, error) {
			row, err := q.Image(ctx, db.ImageParams{TenantID: t.id, ID: id})
			return convert.Image(row), err
		})
	})
}

func (s *core) sealAuth(ctx context.Context, q *db.Queries, tenantID ID, auth *RegistryAuth, image ID) ([]byte, error) {
	if auth == nil {
		return nil, nil
	}
	plain, err := json.Marshal(auth)
	if err != nil {
		return nil, err
	}
	return s.keys.Seal(ctx, q, tenantID, plain, registryAuthOwner(image))
}

func registryAuthOwner(image ID) string { return "registry login of image " + image.String() }

// Image returns an image. Codes: not_found.
func (t Tenant) Image(ctx context.Context, id ID) (husk.Image, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Image, error) {
		row, err := q.Image(ctx, db.ImageParams{TenantID: t.id, ID: id})
		return convert.Image(row), pgerr.NotFound(err, "image")
	})
}

// Images lists the tenant's images, oldest first. With a reference, it lists only images imported by this reference. Codes: invalid (cursor).
func (t Tenant) Images(ctx context.Context, page Page, reference *string) ([]husk.Image, string, error) {
	return tenantPage(ctx, t, page, func(q *db.Queries, after cursor.Position, limit int) ([]db.Image, error) {
		return q.Images(ctx, db.ImagesParams{TenantID: t.id, AfterTime: after.At, AfterID: after.ID, Reference: reference, Max: limit})
	}, convert.Image, func(i husk.Image) (time.Time, ID) { return i.CreatedAt, i.ID })
}

// DeleteImage marks an image for deletion; a control loop removes it. Codes: not_found, image_in_use, precondition_failed.
func (t Tenant) DeleteImage(ctx context.Context, id ID) (husk.Image, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Image, error) {
		row, err := q.LockImage(ctx, db.LockImageParams{TenantID: t.id, ID: id})
		if err != nil {
			return husk.Image{}, pgerr.NotFound(err, "image")
		}
		if err := ifMatch(ctx, convert.Image(row)); err != nil {
			return husk.Image{}, err
		}
		used, err := q.ImageIsUsed(ctx, db.ImageIsUsedParams{TenantID: t.id, ImageID: id})
		if err != nil {
			return husk.Image{}, err
		}
		if used {
			return husk.Image{}, husk.Errorf(husk.CodeImageInUse, "", "a pod uses image %q; delete the pod first", row.Reference)
		}
		if row.State != husk.ImageDeleting {
			if err := q.SetImageDeleting(ctx, db.SetImageDeletingParams{TenantID: t.id, ID: id}); err != nil {
				return husk.Image{}, err
			}
			if err := requested(ctx, q, t.id, "image", id, "DeletionRequested", ""); err != nil {
				return husk.Image{}, err
			}
		}
		row.State = husk.ImageDeleting
		return convert.Image(row), nil
	})
}

// ImageProgress records how much of an image has been fetched.
func (c Control) ImageProgress(ctx context.Context, i husk.Image, p husk.ImportProgress) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		n, err := q.SetImageProgress(ctx, db.SetImageProgressParams{TenantID: i.TenantID, ID: i.ID, FetchedBytes: p.FetchedBytes, TotalBytes: p.TotalBytes})
		if err != nil || n == 0 {
			return err
		}
		return hint(ctx, q, hints.Imports(i.TenantID))
	})
}

// ImageMade records that the tenant's clone exists, with this ID and header. Codes: not_found (the image is gone or is being deleted; the caller
// removes the clone).
func (c Control) ImageMade(ctx context.Context, i husk.Image, sizeBytes int64, setsPrivileges bool, cloneID string, header map[string][]byte) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		n, err := q.SetImageReady(ctx, db.SetImageReadyParams{TenantID: i.TenantID, ID: i.ID, SizeBytes: sizeBytes, SetsPrivileges: setsPrivileges, CloneID: cloneID, CloneHeader: header})
		if err != nil {
			return err
		}
		if n == 0 {
			row, err := q.Image(ctx, db.ImageParams{TenantID: i.TenantID, ID: i.ID})
			if err == nil && row.State == husk.ImageDeleting {
				return husk.NotFound("image")
			}
			return pgerr.NotFound(err, "image")
		}
		return record(ctx, q, i.TenantID, "image", i.ID, "Ready", "")
	})
}

// ImageTrouble counts a failed attempt. If final, the image becomes Failed, with an event, and is retried only when a tenant requests it
// again.
func (c Control) ImageTrouble(ctx context.Context, i husk.Image, message string, final bool) error {
	state := i.State
	if final {
		state = husk.ImageFailed
	}
	return controlDo(ctx, c, func(q *db.Queries) error {
		n, err := q.SetImageTrouble(ctx, db.SetImageTroubleParams{TenantID: i.TenantID, ID: i.ID, State: i.State, NextState: state, Message: message})
		if err != nil || n == 0 {
			return err
		}
		if final {
			return record(ctx, q, i.TenantID, "image", i.ID, "ImportFailed", message)
		}
		return hintTenant(ctx, q, i.TenantID)
	})
}

// ImageRemoved deletes the row of an image whose clone was deleted.
func (c Control) ImageRemoved(ctx context.Context, i husk.Image) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		if err := q.RemoveImage(ctx, db.RemoveImageParams{TenantID: i.TenantID, ID: i.ID}); err != nil {
			return err
		}
		return record(ctx, q, i.TenantID, "image", i.ID, "Deleted", "")
	})
}

// ImageNames returns the names of all clones and the digests of all images. Anything else in the pools is an orphan.
func (c Control) ImageNames(ctx context.Context) (clones, digests map[string]bool, err error) {
	rows, err := inControl(ctx, c, func(q *db.Queries) ([]db.AllImagesRow, error) { return q.AllImages(ctx) })
	clones, digests = map[string]bool{}, map[string]bool{}
	for _, r := range rows {
		clones[husk.Image{ID: r.ID}.CloneName()] = true
		digests[r.Digest] = true
	}
	return clones, digests, err
}

// ImportingImages returns the ids of the images that are being imported.
func (c Control) ImportingImages(ctx context.Context) (map[string]bool, error) {
	return inControl(ctx, c, func(q *db.Queries) (map[string]bool, error) {
		rows, err := q.ImportingImages(ctx)
		ids := map[string]bool{}
		for _, id := range rows {
			ids[id.String()] = true
		}
		return ids, err
	})
}
