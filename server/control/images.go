// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"husk"
	"husk/ceph"
	"husk/egress"
	"husk/registry"
	"husk/registry/importer"
	"husk/store"
)

// Limits of imports.
const (
	importWorkers    = 4 // at the same time; each is a process with limits (registry/importer)
	importsPerTenant = 2
	importAttempts   = 5 // then the image is Failed, and its owner decides whether to retry
	registryAttempts = 9 // the same if the registry is to blame: with the pauses of a lane, about six minutes
	importTimeout    = 30 * time.Minute
	// longestPause is how long Husk waits if a registry asks for it. If it asks for more, the image is Failed.
	longestPause = 10 * time.Minute
)

// images imports images that tenants requested, and removes images that tenants deleted.
type images struct {
	store  store.Control
	ceph   *ceph.Cluster
	egress egress.Policy
	slow   importer.Slow
	log    *slog.Logger
}

// importImage imports the image and creates the tenant's clone.
//
// It fetches every layer with the tenant's own credentials, even if another tenant has imported the same digest. Otherwise, a
// manifest alone would give access to an image, and the progress or the time of an import would show which images other tenants have.
// ceph.StoreImage keeps only the first of equal images.
func (s *images) importImage(ctx context.Context, w store.Work) error {
	if w.Attempts > registryAttempts {
		return fmt.Errorf("%d attempts ended without a result", w.Attempts-1) // perhaps each ended the server
	}
	image, auth, err := s.store.ImageToImport(ctx, w)
	if err != nil {
		return err
	}
	start := time.Now()
	pinned, err := registry.Pin(image.Reference, image.Digest) // the version that was resolved, even if the tag has moved
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(s.ceph.WorkDir(), "husk-image-*.squashfs")
	if err != nil {
		return err
	}
	defer func() { _, _ = file.Close(), os.Remove(file.Name()) }()
	progress := s.reportProgress(ctx, image)
	setsPrivileges, err := importer.Import(ctx, importer.Image{Reference: pinned, Auth: RegistryAuth(auth), Egress: s.egress, Slow: s.slow}, s.ceph.WorkDir(), file, progress.set)
	progress.end()
	if err != nil {
		return err
	}
	imported, err := s.ceph.StoreImage(ctx, image.Digest, image.ID.String(), file.Name())
	if err != nil {
		return err
	}
	clone, err := s.ceph.CloneForTenant(ctx, image.Digest, image.CloneName())
	if err != nil {
		return err
	}
	s.log.Info("image imported", "tenant", image.TenantID, "image", image.ID, "digest", image.Digest, "bytes", imported.SizeBytes, "took", time.Since(start))
	err = unlessDeleted(ctx, s.ceph, clone, s.store.ImageMade(ctx, image, imported.SizeBytes, setsPrivileges, clone.ID, clone.Header))
	if husk.CodeOf(err) == husk.CodeNotFound {
		return errors.Join(err, s.removeImport(ctx, store.Work{Digest: image.Digest}))
	}
	return err
}

// importFailed tells the owner of an image why it is not imported, and whether Husk retries.
func (s *images) importFailed(ctx context.Context, w store.Work, err error) (verdict, error) {
	text, v := importVerdict(w.Attempts, err)
	if v.final { // an attempt that follows another writes over what that one left
		if e := s.ceph.RemoveStaging(ctx, w.ObjectID.String()); e != nil {
			s.log.Warn("what a failed import left could not be removed yet; Husk retries", "tenant", w.TenantID, "image", w.ObjectID, "error", e)
		}
	}
	return v, s.store.ImageTrouble(ctx, husk.Image{TenantID: w.TenantID, ID: w.ObjectID, State: husk.ImageImporting}, text, v.final)
}

// importVerdict decides how an import continues after its latest attempt failed, and explains it to the owner.
func importVerdict(attempts int, err error) (string, verdict) {
	text, most, v := "the import did not finish", importAttempts, verdict{}
	if errors.Is(err, importer.ErrKilled) {
		text = "the process of the import was killed"
	}
	if shown, ok := errors.AsType[*husk.Error](RegistryProblem(err)); ok {
		text = shown.Detail
		if shown.Code != husk.CodeRegistryUnreachable {
			return text, verdict{final: true}
		}
		most = registryAttempts
		if failure, ok := errors.AsType[*registry.ImageError](err); ok {
			v.pause = failure.RetryAfter
		}
	}
	switch {
	case v.pause > longestPause:
		return text + "; import the image again after that", verdict{final: true}
	case attempts >= most:
		return fmt.Sprintf("%s, in %d attempts; import the image again to retry", text, attempts), verdict{final: true}
	default:
		return text + "; Husk retries", v
	}
}

func (s *images) remove(ctx context.Context, w store.Work) error {
	disk, err := s.store.DiskToRemove(ctx, w)
	if err != nil {
		return err
	}
	if err := errors.Join(s.ceph.RemoveStaging(ctx, w.ObjectID.String()), s.ceph.RemoveDisk(ctx, cephDisk(disk))); err != nil {
		return err
	}
	return s.store.ImageRemoved(ctx, husk.Image{TenantID: w.TenantID, ID: w.ObjectID})
}

// removeImport removes an import, unless an image uses it.
func (s *images) removeImport(ctx context.Context, w store.Work) error {
	used, err := s.store.DigestUsed(ctx, w.Digest)
	if err != nil || used {
		return err
	}
	if err := s.ceph.RemoveImage(ctx, w.Digest); err != nil {
		return err
	}
	s.log.Info("removed an import that no image uses", "digest", w.Digest)
	return nil
}

func (s *images) removalFailed(ctx context.Context, w store.Work, _ error) (verdict, error) {
	image := husk.Image{TenantID: w.TenantID, ID: w.ObjectID, State: husk.ImageDeleting}
	return verdict{}, s.store.ImageTrouble(ctx, image, "the image could not be deleted yet; Husk retries", false)
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
	failure, ok := errors.AsType[*registry.ImageError](err)
	if !ok {
		return err
	}
	code := husk.CodeRegistryUnreachable
	switch failure.Kind {
	case registry.ErrBadReference, registry.ErrForbidden: //nolint:errorlint // the kind is one of registry.Kinds, not wrapped
		code = husk.CodeInvalid
	case registry.ErrNotFound:
		code = husk.CodeImageNotFound
	case registry.ErrUnauthorized:
		code = husk.CodeRegistryUnauthorized
	case registry.ErrNoPlatform, registry.ErrBadImage, registry.ErrTooLarge:
		code = husk.CodeImageUnsupported
	}
	return errors.Join(husk.Errorf(code, "reference", "%s", failure.Detail()), err)
}
