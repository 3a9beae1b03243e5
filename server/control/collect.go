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

	"husk"
	"husk/ceph"
	"husk/store"
)

// approvedEvery is how soon the leader removes what an operator has approved.
const approvedEvery = time.Minute

// collectEvery is how often everything in Ceph is compared with the rows. An object that loses its owner becomes work in the queue, so there is
// something to find only if a leader ended between two steps.
const collectEvery = time.Hour

// collection removes objects that have no owner and no row in the queue.
type collection struct {
	store   store.Control
	ceph    *ceph.Cluster
	log     *slog.Logger
	found   prometheus.Counter
	unknown prometheus.Gauge
	next    time.Time // when everything is compared again
}

// pass removes orphans: keys of deleted pods, what interrupted imports left, and clones, volumes, snapshots and imports whose row was deleted.
// It lists the existing objects before it reads the rows. Rows are written before objects are created, so an object without a row has lost its
// row, or the database is older than the object. Then an operator decides.
func (s *collection) pass(ctx context.Context, _ int64) error {
	if time.Now().Before(s.next) {
		if approved, err := s.store.Copies().IsApproved(ctx); err != nil || !approved {
			return err
		}
	}
	err := errors.Join(s.keys(ctx), s.staging(ctx), s.objects(ctx), s.store.Copies().ForgetRemoved(ctx))
	if err == nil {
		s.next = time.Now().Add(collectEvery)
	}
	return err
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

// withoutRow returns the volumes, clones, snapshots and imports in Ceph that have no row.
func (s *collection) withoutRow(ctx context.Context) ([]husk.UnknownObject, error) {
	disks, err1 := s.ceph.ListDisks(ctx)
	snapshots, err2 := s.ceph.ListSnapshots(ctx)
	digests, err3 := s.ceph.ListDigests(ctx)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	volumes, copies, err1 := s.store.Copies().Names(ctx)
	clones, imports, err2 := s.store.ImageNames(ctx)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	var all []husk.UnknownObject
	add := func(kind husk.UnknownKind, names []string, prefix string, owned map[string]bool) {
		for _, name := range names {
			if strings.HasPrefix(name, prefix) && !owned[name] {
				all = append(all, husk.UnknownObject{Name: name, Kind: kind})
			}
		}
	}
	// Clones come before the images that they are clones of. What begins with something else is not an object of Husk.
	add(husk.UnknownVolume, disks, "vol-", volumes)
	add(husk.UnknownImage, disks, "img-", clones)
	add(husk.UnknownSnapshot, disks, "view-", volumes)
	add(husk.UnknownSnapshot, snapshots, ceph.SnapshotPrefix, copies)
	add(husk.UnknownImage, digests, "", imports)
	return all, nil
}

// objects removes objects without a row that may be removed.
func (s *collection) objects(ctx context.Context) error {
	all, err := s.withoutRow(ctx)
	if err != nil {
		return err
	}
	removable, held, err := s.store.Copies().Removable(ctx, all)
	if err != nil {
		return err
	}
	s.unknown.Set(float64(held))
	if held > 0 {
		s.log.Warn("objects in Ceph are unknown to this database; an operator decides what to do with them", "objects", held)
	}
	var failures []error
	for _, o := range all {
		if !removable[o.Name] {
			continue
		}
		switch err := s.remove(ctx, o); {
		case err == nil:
			s.found.Inc()
			s.log.Info("removed an object without an owner", "kind", o.Kind, "object", o.Name)
		case !busy(err): // an object in use is left to a later pass
			failures = append(failures, fmt.Errorf("%s: %w", o.Name, err))
		}
	}
	return errors.Join(failures...)
}

func (s *collection) remove(ctx context.Context, o husk.UnknownObject) error {
	switch {
	case strings.HasPrefix(o.Name, "vol-") || strings.HasPrefix(o.Name, "img-") || strings.HasPrefix(o.Name, "view-"):
		return s.ceph.RemoveDisk(ctx, ceph.Disk{Name: o.Name})
	case o.Kind == husk.UnknownSnapshot:
		return s.ceph.RemoveSnapshot(ctx, o.Name)
	default:
		return s.ceph.RemoveImage(ctx, o.Name)
	}
}
