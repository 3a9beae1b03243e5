package server

import (
	"context"
	"errors"
	"fmt"

	"husk"
	"husk/ceph"
)

// volumesPass makes the RBD images of new volumes and removes those of deleted ones. One that fails keeps its reason for its owner
// and does not hold up the others.
func (s *Server) volumesPass(ctx context.Context, _ int64) error {
	volumes, err := s.store.UnfinishedVolumes(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, v := range volumes {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		step := s.makeVolume
		if v.State == husk.VolumeDeleting {
			step = s.removeVolume
		}
		err := step(ctx, v)
		if err == nil {
			s.log.Info("volume done", "tenant", v.TenantID, "volume", v.ID, "was", v.State)
			continue
		}
		failures = append(failures, fmt.Errorf("volume %s: %w", v.ID, err))
		failures = append(failures, s.store.VolumeTrouble(ctx, v, troubleText(err)))
	}
	return errors.Join(failures...)
}

func (s *Server) makeVolume(ctx context.Context, v husk.Volume) error {
	disk, err := s.cluster.CreateVolume(ctx, v.RBDName(), int64(v.SizeGiB)<<30)
	if err != nil {
		return err
	}
	return s.store.VolumeMade(ctx, v, disk.ID)
}

func (s *Server) removeVolume(ctx context.Context, v husk.Volume) error {
	if err := s.cluster.RemoveDisk(ctx, v.RBDName()); err != nil {
		return err
	}
	return s.store.VolumeRemoved(ctx, v)
}

// troubleText is what a tenant is told of a failure below the platform: that it happened, and no word of how the platform is built.
func troubleText(err error) string {
	if busy(err) {
		return "it is still attached somewhere; this is tried again"
	}
	return "the storage cluster did not do it; this is tried again"
}

// busy tells whether something still uses an RBD image.
func busy(err error) bool {
	_, ok := errors.AsType[*ceph.BusyError](err)
	return ok
}
