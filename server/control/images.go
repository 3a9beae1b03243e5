// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"husk"
	"husk/ceph"
	"husk/egress"
	"husk/registry"
	"husk/store"
)

const (
	importWorkers  = 2 // imports at the same time; each of them runs a compressor
	importAttempts = 5 // then the image is Failed, and its owner decides whether to retry
	importTimeout  = 30 * time.Minute
)

// images imports images that tenants requested, and removes images that tenants deleted.
type images struct {
	store  store.Control
	ceph   *ceph.Cluster
	egress egress.Policy
	log    *slog.Logger
}

// pass imports and removes images. Imports of the same digest run one after the other.
func (s *images) pass(ctx context.Context, _ int64) error {
	jobs, err := s.store.UnfinishedImages(ctx)
	if err != nil {
		return err
	}
	turns := inTurns(jobs)
	failures := make([]error, len(turns))
	var g errgroup.Group
	g.SetLimit(importWorkers)
	for i, turn := range turns {
		g.Go(func() error {
			for _, job := range turn {
				step := s.importImage
				if job.Image.State == husk.ImageDeleting {
					step = s.removeImage
				}
				if err := safely(func() error { return step(ctx, job) }); err != nil && ctx.Err() == nil {
					failures[i] = errors.Join(failures[i], s.imageTrouble(ctx, job, err))
				}
			}
			return nil
		})
	}
	return errors.Join(append(failures, g.Wait())...)
}

// inTurns groups imports of the same digest, so that they run one after the other: the first fetches the digest, and the others find it, even
// if they belong to other tenants.
func inTurns(jobs []store.ImageJob) [][]store.ImageJob {
	var turns [][]store.ImageJob
	of := map[string]int{}
	for _, job := range jobs {
		at, known := of[job.Image.Digest]
		if known && job.Image.State == husk.ImageImporting {
			turns[at] = append(turns[at], job)
			continue
		}
		if job.Image.State == husk.ImageImporting {
			of[job.Image.Digest] = len(turns)
		}
		turns = append(turns, []store.ImageJob{job})
	}
	return turns
}

func (s *images) imageTrouble(ctx context.Context, job store.ImageJob, err error) error {
	text, final := "the import did not finish; Husk retries it", job.Attempts+1 >= importAttempts
	if final {
		text = "the import did not finish; import the image again to retry"
	}
	if shown, ok := errors.AsType[*husk.Error](RegistryProblem(err)); ok {
		text, final = shown.Detail, final || shown.Code != husk.CodeRegistryUnreachable
	}
	if job.Image.State == husk.ImageDeleting {
		text, final = "the image could not be deleted yet; Husk retries", false
	}
	return errors.Join(fmt.Errorf("image %s of tenant %s: %w", job.Image.ID, job.Image.TenantID, err),
		s.store.ImageTrouble(ctx, job.Image, text, final))
}

// importImage imports the image into Ceph unless it exists, publishes it, and creates the tenant's clone. The steps are: staging image,
// snapshot, database. The next attempt recognises an incomplete import by its name, and removes or finishes it.
func (s *images) importImage(ctx context.Context, job store.ImageJob) error {
	ctx, cancel := context.WithTimeout(ctx, importTimeout)
	defer cancel()
	_, here, err := s.store.BlobSize(ctx, job.Image.Digest)
	if err != nil {
		return err
	}
	start := time.Now()
	// This call is made even if the database says that the import exists, because the collector may have just removed it. It costs little if
	// the import exists.
	imported, err := s.ceph.ImportImage(ctx, job.Image.Digest, func(ctx context.Context, w io.Writer) error {
		// By digest, so that it imports the version that was resolved, even if the tag has moved.
		pinned, err := registry.Pin(job.Image.Reference, job.Image.Digest)
		if err != nil {
			return err
		}
		resolved, err := registry.Resolve(ctx, s.egress, pinned, RegistryAuth(job.Auth))
		if err != nil {
			return err
		}
		p := s.reportProgress(ctx, job.Image.Digest, resolved.SizeBytes)
		defer p.end()
		resolved.Fetched, resolved.WorkDir = p.fetched.Store, s.ceph.WorkDir()
		return safely(func() error { return resolved.Flatten(ctx, w) }) // another goroutine calls this
	})
	if err != nil {
		return err
	}
	if !here {
		if err := s.store.BlobImported(ctx, job.Image.Digest, imported.SizeBytes); err != nil {
			return err
		}
		s.log.Info("image imported", "digest", job.Image.Digest, "bytes", imported.SizeBytes, "took", time.Since(start))
	}
	clone, err := s.ceph.CloneForTenant(ctx, job.Image.Digest, job.Image.CloneName())
	if err != nil {
		return err
	}
	return s.store.ImageMade(ctx, job.Image, imported.SizeBytes, clone.ID)
}

func (s *images) removeImage(ctx context.Context, job store.ImageJob) error {
	if err := s.ceph.RemoveDisk(ctx, job.Image.CloneName()); err != nil {
		return err
	}
	return s.store.ImageRemoved(ctx, job.Image)
}

// RegistryAuth converts credentials for the registry client.
func RegistryAuth(a *store.RegistryAuth) registry.Auth {
	if a == nil {
		return registry.Auth{}
	}
	return registry.Auth{Username: a.Username, Password: a.Password}
}

// RegistryProblem converts an error of the registry client into a problem of the API.
func RegistryProblem(err error) error {
	for _, p := range []struct {
		is     error
		code   husk.Code
		detail string
	}{
		{registry.ErrBadReference, husk.CodeInvalid, "the text is not a valid image reference"},
		{registry.ErrNotFound, husk.CodeImageNotFound, "the registry has no such image"},
		{registry.ErrUnauthorized, husk.CodeRegistryUnauthorized, "the registry requires credentials, or rejected these"},
		{registry.ErrNoPlatform, husk.CodeImageUnsupported, "the image has no variant for linux/amd64"},
		{registry.ErrBadImage, husk.CodeImageUnsupported, "the image is damaged or not a valid OCI image"},
		{registry.ErrTooLarge, husk.CodeImageUnsupported, "the image is larger than this platform imports"},
		{registry.ErrForbidden, husk.CodeInvalid, "the registry is at an address that this platform does not connect to, or redirects to one"},
		{registry.ErrUnreachable, husk.CodeRegistryUnreachable, "the registry does not respond, has no valid TLS certificate, or its name resolves to an address that this platform does not connect to"},
		{registry.ErrFailing, husk.CodeRegistryUnreachable, "the registry responds with an error, such as too many requests; a later attempt may succeed"},
	} {
		if errors.Is(err, p.is) {
			return errors.Join(husk.Errorf(p.code, "reference", "%s", p.detail), err)
		}
	}
	return err
}
