// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"husk/ceph"
	"husk/store"
)

// collectEvery is how often everything in Ceph is compared with the rows. An object that loses its owner becomes work in the queue, so there is
// something to find only if a leader ended between two steps.
const collectEvery = time.Hour

// collection removes objects that have no owner and no row in the queue.
type collection struct {
	store store.Control
	ceph  *ceph.Cluster
	log   *slog.Logger
	found prometheus.Counter
}

// pass removes orphans: keys of deleted pods, and clones, volumes and imports without a row. It lists the existing objects before it reads the
// rows. Rows are written before objects are created, so an object without a row has lost its row.
func (s *collection) pass(ctx context.Context, _ int64) error {
	return errors.Join(s.keys(ctx), s.disks(ctx), s.snapshots(ctx), s.staging(ctx), s.imports(ctx))
}

func (s *collection) keys(ctx context.Context) error {
	keys, err := s.ceph.ListKeys(ctx)
	if err != nil {
		return err
	}
	owned, err := s.store.KeyHolders(ctx, nil)
	if err != nil {
		return err
	}
	disks, err := s.ownedDisks(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, holder := range keys {
		if disk, ofTask := ceph.DiskOfTask(holder); owned[holder] || ofTask && disks[disk] {
			continue
		}
		if err := s.ceph.RemoveKey(ctx, holder); err != nil {
			failures = append(failures, err)
			continue
		}
		s.found.Inc()
		s.log.Info("removed a key that no placement uses", "holder", holder)
	}
	return errors.Join(failures...)
}

// ownedDisks returns the names of the disks that have a row.
func (s *collection) ownedDisks(ctx context.Context) (map[string]bool, error) {
	volumes, _, err := s.store.Copies().Names(ctx)
	if err != nil {
		return nil, err
	}
	clones, _, err := s.store.ImageNames(ctx)
	maps.Copy(volumes, clones)
	return volumes, err
}

func (s *collection) disks(ctx context.Context) error {
	disks, err := s.ceph.ListDisks(ctx)
	if err != nil {
		return err
	}
	owned, err := s.ownedDisks(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, d := range disks {
		if owned[d] || !strings.HasPrefix(d, "vol-") && !strings.HasPrefix(d, "img-") {
			continue // it has an owner, or it is not an object of Husk
		}
		switch err := s.ceph.RemoveDisk(ctx, ceph.Disk{Name: d}); {
		case err == nil:
			s.found.Inc()
			s.log.Info("removed a disk without an owner", "disk", d)
		case !busy(err): // a disk in use is left to a later pass
			failures = append(failures, fmt.Errorf("disk %s: %w", d, err))
		}
	}
	return errors.Join(failures...)
}

// snapshots removes the RBD images of snapshots that have no row.
func (s *collection) snapshots(ctx context.Context) error {
	found, err := s.ceph.ListSnapshots(ctx)
	if err != nil {
		return err
	}
	_, owned, err := s.store.Copies().Names(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, name := range found {
		if owned[name] {
			continue
		}
		switch err := s.ceph.RemoveSnapshot(ctx, name); {
		case err == nil:
			s.found.Inc()
			s.log.Info("removed a snapshot without an owner", "snapshot", name)
		case !busy(err):
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// staging removes what interrupted imports left. An image that is being imported keeps its own.
func (s *collection) staging(ctx context.Context) error {
	staging, err := s.ceph.ListStaging(ctx)
	if err != nil || len(staging) == 0 {
		return err
	}
	importing, err := s.store.ImportingImages(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, name := range staging {
		if importing[name] {
			continue
		}
		switch err := s.ceph.RemoveStaging(ctx, name); {
		case err == nil:
			s.found.Inc()
			s.log.Info("removed what an interrupted import left", "image", name)
		case !busy(err):
			failures = append(failures, fmt.Errorf("staging of image %s: %w", name, err))
		}
	}
	return errors.Join(failures...)
}

// imports removes the imports of digests that no image has.
func (s *collection) imports(ctx context.Context) error {
	var failures []error
	stored, err := s.ceph.ListDigests(ctx)
	if err != nil {
		return err
	}
	_, wanted, err := s.store.ImageNames(ctx)
	if err != nil {
		return err
	}
	for _, digest := range stored {
		if wanted[digest] {
			continue
		}
		switch err := s.ceph.RemoveImage(ctx, digest); {
		case err == nil:
			s.found.Inc()
			s.log.Info("removed an import that no image uses", "digest", digest)
		case !busy(err): // an import in use is left to a later pass
			failures = append(failures, fmt.Errorf("import %s: %w", digest, err))
		}
	}
	return errors.Join(failures...)
}
