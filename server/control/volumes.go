// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"husk"
	"husk/ceph"
	"husk/store"
)

// volumes creates the RBD images of new volumes and removes those of deleted ones.
type volumes struct {
	store store.Control
	ceph  *ceph.Cluster
	log   *slog.Logger
}

// pass creates the RBD images of new volumes and removes those of deleted ones. If this fails for one volume, its row tells the owner why, and
// the other volumes are not delayed.
func (s *volumes) pass(ctx context.Context, _ int64) error {
	unfinished, err := s.store.UnfinishedVolumes(ctx)
	if err != nil {
		return err
	}
	failures := make([]error, len(unfinished))
	var g errgroup.Group
	g.SetLimit(volumeWorkers)
	for i, v := range unfinished {
		g.Go(func() error {
			failures[i] = s.finishVolume(ctx, v)
			return nil
		})
	}
	return errors.Join(append(failures, g.Wait())...)
}

// volumeWorkers is how many volumes are created or removed at the same time, so that one that hangs in Ceph does not delay the others.
const volumeWorkers = 4

func (s *volumes) finishVolume(ctx context.Context, v husk.Volume) error {
	step := s.makeVolume
	if v.State == husk.VolumeDeleting {
		step = s.removeVolume
	}
	if err := safely(func() error { return step(ctx, v) }); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errors.Join(fmt.Errorf("volume %s: %w", v.ID, err), s.store.VolumeTrouble(ctx, v, troubleText(err)))
	}
	s.log.Info("created or removed a volume", "tenant", v.TenantID, "volume", v.ID, "was", v.State)
	return nil
}

func (s *volumes) makeVolume(ctx context.Context, v husk.Volume) error {
	disk, err := s.ceph.CreateVolume(ctx, v.RBDName(), int64(v.SizeGiB)<<30)
	if err != nil {
		return err
	}
	return s.store.VolumeMade(ctx, v, disk.ID)
}

func (s *volumes) removeVolume(ctx context.Context, v husk.Volume) error {
	if err := s.ceph.RemoveDisk(ctx, v.RBDName()); err != nil {
		return err
	}
	return s.store.VolumeRemoved(ctx, v)
}

// troubleText returns the tenant's message for a failure in the platform. It does not reveal how the platform is built.
func troubleText(err error) string {
	if busy(err) {
		return "the volume or image is still attached to a pod; Husk retries"
	}
	return "the storage cluster reported an error; Husk retries"
}

// busy reports whether an RBD image is still in use.
func busy(err error) bool {
	_, ok := errors.AsType[*ceph.BusyError](err)
	return ok
}
