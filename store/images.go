package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/db"
)

// RegistryAuth is a login at a registry. It is kept sealed, and only until the import has ended.
type RegistryAuth struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

func imageOf(i db.Image) husk.Image {
	image := husk.Image{
		ID: i.ID, TenantID: i.TenantID, Reference: i.Reference, Digest: i.Digest, State: i.State, Message: i.Message, Config: i.Config,
		SizeBytes: i.SizeBytes, CreatedAt: i.CreatedAt, ReadyAt: i.ReadyAt,
	}
	// A server of before leaves progress behind where it ends an import.
	if i.State == husk.ImageImporting && i.FetchedBytes != nil && i.TotalBytes != nil {
		image.Progress = &husk.ImportProgress{FetchedBytes: *i.FetchedBytes, TotalBytes: *i.TotalBytes}
	}
	return image
}

// CreateImage accepts an order for an import. The reference has been resolved to a digest with the tenant's own credentials. The
// same reference and digest again is the same image; one that had failed is tried again. Codes: quota_exceeded, conflict.
func (s *Store) CreateImage(ctx context.Context, tenantID ID, idem Idempotency, reference, digest string, config husk.ImageConfig, auth *RegistryAuth) (husk.Image, error) {
	return inTenant(ctx, s, tenantID, func(q *db.Queries) (husk.Image, error) {
		tenant, err := q.LockTenant(ctx, tenantID)
		if err != nil {
			return husk.Image{}, orNotFound(err, "tenant")
		}
		image, err := creating(ctx, q, tenantID, idem, func() (ID, husk.Image, error) {
			row, err := q.FindImage(ctx, db.FindImageParams{TenantID: tenantID, Reference: reference, Digest: digest})
			known := err == nil
			if err != nil && !errors.Is(err, pgx.ErrNoRows) {
				return row.ID, husk.Image{}, err
			}
			switch {
			case known && row.State == husk.ImageDeleting:
				return row.ID, husk.Image{}, husk.Errorf(husk.CodeConflict, "reference", "image %q is being deleted; import it again when it is gone", reference)
			case known && row.State != husk.ImageFailed:
				return row.ID, imageOf(row), audit(ctx, q, tenantID, "image", row.ID.String())
			}
			id := uuid.New()
			if known {
				id = row.ID
			}
			sealed, err := s.sealAuth(ctx, q, tenantID, auth, id)
			if err != nil {
				return id, husk.Image{}, err
			}
			if known {
				row, err = q.RetryImage(ctx, db.RetryImageParams{TenantID: tenantID, ID: id, RegistryAuth: sealed})
			} else {
				var used int
				if used, err = q.ImageUse(ctx, tenantID); err == nil {
					err = checkQuota("", "images", used, 1, tenant.QuotaImages)
				}
				if err != nil {
					return id, husk.Image{}, err
				}
				row, err = q.InsertImage(ctx, db.InsertImageParams{
					TenantID: tenantID, ID: id, Reference: reference, Digest: digest, Config: config, RegistryAuth: sealed,
				})
			}
			if err != nil {
				return id, husk.Image{}, err
			}
			return id, imageOf(row), ordered(ctx, q, tenantID, "image", id, "ImportRequested", reference)
		})
		image.TenantID = tenantID // a kept answer is in the form of the wire, which does not have it
		return image, err
	})
}

func (s *Store) sealAuth(ctx context.Context, q *db.Queries, tenantID ID, auth *RegistryAuth, image ID) ([]byte, error) {
	if auth == nil {
		return nil, nil
	}
	plain, err := json.Marshal(auth)
	if err != nil {
		return nil, err
	}
	return s.sealFor(ctx, q, tenantID, plain, registryAuthOwner(image))
}

func registryAuthOwner(image ID) string { return "registry login of image " + image.String() }

// Image returns an image. Codes: not_found.
func (s *Store) Image(ctx context.Context, tenantID, id ID) (husk.Image, error) {
	return inTenant(ctx, s, tenantID, func(q *db.Queries) (husk.Image, error) {
		row, err := q.Image(ctx, db.ImageParams{TenantID: tenantID, ID: id})
		return imageOf(row), orNotFound(err, "image")
	})
}

// Images lists a tenant's images, oldest first; reference narrows to those imported by it. Codes: invalid (cursor).
func (s *Store) Images(ctx context.Context, tenantID ID, page Page, reference *string) ([]husk.Image, string, error) {
	l, err := inTenant(ctx, s, tenantID, func(q *db.Queries) (l list[husk.Image], err error) {
		l.items, l.next, err = paged(page, func(after position, limit int) ([]db.Image, error) {
			return q.Images(ctx, db.ImagesParams{TenantID: tenantID, AfterTime: after.at, AfterID: after.id, Reference: reference, Max: limit})
		}, imageOf, func(i husk.Image) (time.Time, ID) { return i.CreatedAt, i.ID })
		return l, err
	})
	return l.items, l.next, err
}

// DeleteImage marks an image for deletion; a control loop removes it. Codes: not_found, image_in_use, precondition_failed.
func (s *Store) DeleteImage(ctx context.Context, tenantID, id ID) (husk.Image, error) {
	return inTenant(ctx, s, tenantID, func(q *db.Queries) (husk.Image, error) {
		row, err := q.LockImage(ctx, db.LockImageParams{TenantID: tenantID, ID: id})
		if err != nil {
			return husk.Image{}, orNotFound(err, "image")
		}
		if err := ifMatch(ctx, imageOf(row)); err != nil {
			return husk.Image{}, err
		}
		used, err := q.ImageIsUsed(ctx, db.ImageIsUsedParams{TenantID: tenantID, ImageID: id})
		if err != nil {
			return husk.Image{}, err
		}
		if used {
			return husk.Image{}, husk.Errorf(husk.CodeImageInUse, "", "a pod uses image %q; delete the pod first", row.Reference)
		}
		if row.State != husk.ImageDeleting {
			if err := q.SetImageDeleting(ctx, db.SetImageDeletingParams{TenantID: tenantID, ID: id}); err != nil {
				return husk.Image{}, err
			}
			if err := ordered(ctx, q, tenantID, "image", id, "DeletionRequested", ""); err != nil {
				return husk.Image{}, err
			}
		}
		row.State = husk.ImageDeleting
		return imageOf(row), nil
	})
}

// ImageJob is an image that is to be imported or removed.
type ImageJob struct {
	Image    husk.Image
	Auth     *RegistryAuth
	Attempts int
}

// UnfinishedImages returns images of all tenants that are to be imported or removed, those with the fewest tries first.
func (s *Store) UnfinishedImages(ctx context.Context) ([]ImageJob, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]ImageJob, error) {
		rows, err := q.UnfinishedImages(ctx)
		if err != nil {
			return nil, err
		}
		jobs := []ImageJob{}
		for _, r := range rows {
			job := ImageJob{Image: imageOf(r), Attempts: r.Attempts}
			if r.RegistryAuth != nil {
				plain, err := s.openFor(ctx, q, r.TenantID, r.RegistryAuth, registryAuthOwner(r.ID))
				if err != nil {
					return nil, wrap(err, "registry login of image %s", r.ID)
				}
				job.Auth = &RegistryAuth{}
				if err := json.Unmarshal(plain, job.Auth); err != nil {
					return nil, wrap(err, "registry login of image %s", r.ID)
				}
			}
			jobs = append(jobs, job)
		}
		return jobs, nil
	})
}

// BlobSize returns the size of an import that is complete, and false when the digest is not here.
func (s *Store) BlobSize(ctx context.Context, digest string) (int64, bool, error) {
	blob, err := inControl(ctx, s, func(q *db.Queries) (db.Blob, error) { return q.Blob(ctx, digest) })
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, false, nil
	}
	return blob.SizeBytes, err == nil, err
}

// BlobImported publishes an import that is complete in Ceph.
func (s *Store) BlobImported(ctx context.Context, digest string, sizeBytes int64) error {
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) {
		return struct{}{}, q.InsertBlob(ctx, db.InsertBlobParams{Digest: digest, SizeBytes: sizeBytes})
	})
	return err
}

// ImageProgress tells how much of a digest has come, to all who wait for it.
func (s *Store) ImageProgress(ctx context.Context, digest string, p husk.ImportProgress) error {
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) {
		tenants, err := q.SetImageProgress(ctx, db.SetImageProgressParams{Digest: digest, FetchedBytes: p.FetchedBytes, TotalBytes: p.TotalBytes})
		if err != nil {
			return struct{}{}, err
		}
		for _, tenant := range tenants {
			if err := q.Notify(ctx, topicImports(tenant)); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return err
}

// ImageMade records that the tenant's clone is there.
func (s *Store) ImageMade(ctx context.Context, i husk.Image, sizeBytes int64, cloneID string) error {
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) {
		n, err := q.SetImageReady(ctx, db.SetImageReadyParams{TenantID: i.TenantID, ID: i.ID, SizeBytes: sizeBytes, CloneID: cloneID})
		if err != nil || n == 0 {
			return struct{}{}, err
		}
		return struct{}{}, record(ctx, q, i.TenantID, "image", i.ID, "Ready", "")
	})
	return err
}

// ImageTrouble counts a try that did not succeed. With final the image is Failed and is tried again only when it is ordered again.
func (s *Store) ImageTrouble(ctx context.Context, i husk.Image, message string, final bool) error {
	state := i.State
	if final {
		state = husk.ImageFailed
	}
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) {
		if err := q.SetImageTrouble(ctx, db.SetImageTroubleParams{TenantID: i.TenantID, ID: i.ID, State: state, Message: message}); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, notifyTenant(ctx, q, i.TenantID)
	})
	return err
}

// ImageRemoved forgets an image whose clone is gone.
func (s *Store) ImageRemoved(ctx context.Context, i husk.Image) error {
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) {
		if err := q.RemoveImage(ctx, db.RemoveImageParams{TenantID: i.TenantID, ID: i.ID}); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, record(ctx, q, i.TenantID, "image", i.ID, "Deleted", "")
	})
	return err
}

// UnusedBlobs returns digests that no tenant's image names any more.
func (s *Store) UnusedBlobs(ctx context.Context) ([]string, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]string, error) { return q.UnusedBlobs(ctx) })
}

// ForgetBlob unpublishes an import unless an image names it by now, and tells whether it did.
func (s *Store) ForgetBlob(ctx context.Context, digest string) (bool, error) {
	return inControl(ctx, s, func(q *db.Queries) (bool, error) {
		n, err := q.DeleteBlob(ctx, digest)
		return n == 1, err
	})
}

// ImageNames returns the names of the clones that images own and the digests that images name. What else is in the pools is an orphan.
func (s *Store) ImageNames(ctx context.Context) (clones, digests map[string]bool, err error) {
	rows, err := inControl(ctx, s, func(q *db.Queries) ([]db.AllImagesRow, error) { return q.AllImages(ctx) })
	clones, digests = map[string]bool{}, map[string]bool{}
	for _, r := range rows {
		clones[husk.Image{ID: r.ID}.CloneName()] = true
		digests[r.Digest] = true
	}
	return clones, digests, err
}
