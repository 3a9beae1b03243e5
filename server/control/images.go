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
	importTimeout    = 30 * time.Minute
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
	if w.Attempts > importAttempts {
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
func (s *images) importFailed(ctx context.Context, w store.Work, err error) (bool, error) {
	text, final := "the import did not finish; Husk retries it", w.Attempts >= importAttempts
	if final {
		text = "the import did not finish; import the image again to retry"
	}
	if shown, ok := errors.AsType[*husk.Error](RegistryProblem(err)); ok {
		text, final = shown.Detail, final || shown.Code != husk.CodeRegistryUnreachable
	}
	if final { // an attempt that follows another writes over what that one left
		if e := s.ceph.RemoveStaging(ctx, w.ObjectID.String()); e != nil {
			s.log.Warn("what a failed import left could not be removed yet; Husk retries", "tenant", w.TenantID, "image", w.ObjectID, "error", e)
		}
	}
	return final, s.store.ImageTrouble(ctx, husk.Image{TenantID: w.TenantID, ID: w.ObjectID, State: husk.ImageImporting}, text, final)
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

func (s *images) removalFailed(ctx context.Context, w store.Work, _ error) (bool, error) {
	image := husk.Image{TenantID: w.TenantID, ID: w.ObjectID, State: husk.ImageDeleting}
	return false, s.store.ImageTrouble(ctx, image, "the image could not be deleted yet; Husk retries", false)
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
		{registry.ErrTooSlow, husk.CodeRegistryUnreachable, "the registry sends the image too slowly"},
		{registry.ErrOverloaded, husk.CodeRegistryUnreachable, "the registry responds with an error, perhaps because it limits requests; retry later"},
		{registry.ErrUnreachable, husk.CodeRegistryUnreachable, "the registry does not respond, has no valid TLS certificate, or its name resolves to an address that this platform does not connect to"},
	} {
		if errors.Is(err, p.is) {
			return errors.Join(husk.Errorf(p.code, "reference", "%s", p.detail), err)
		}
	}
	return err
}
