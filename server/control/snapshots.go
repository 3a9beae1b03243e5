// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"husk"
	"husk/ceph"
	"husk/store"
	"husk/store/disks"
)

const (
	// snapshotTimeout limits the copy of one snapshot.
	snapshotTimeout = 6 * time.Hour
	// snapshotAttempts is after how many attempts a snapshot fails whose volume's pod does not answer.
	snapshotAttempts = 4
)

// snapshots copies volumes to snapshots and removes those that were deleted.
type snapshots struct {
	copies disks.Copies
	ceph   *ceph.Cluster
	log    *slog.Logger
}

// create makes a snapshot. Its number in RADOS is stored before it is used. If this is interrupted after the moment of the snapshot, the next attempt
// copies the same moment.
func (s *snapshots) create(ctx context.Context, w store.Work) error {
	c, err := s.copies.Snapshot(ctx, w.TenantID, w.ObjectID)
	if err != nil {
		return err
	}
	if c.Volume == nil {
		return husk.NotFound("volume")
	}
	volume := cephDisk(*c.Volume)
	if !c.Taken {
		if c.Number, err = s.take(ctx, w, volume, c.Number); err != nil {
			return err
		}
	}
	made, err := s.ceph.StoreSnapshot(ctx, volume, c.Number, c.Name, s.progress(ctx, w))
	if errors.Is(err, ceph.ErrSnapshotLost) {
		return errors.Join(err, s.forget(ctx, w, volume, c.Number))
	}
	if err != nil {
		return err
	}
	if err := s.ceph.ForgetSnapshot(ctx, volume, c.Number); err != nil {
		return err
	}
	err = s.copies.Made(ctx, w.TenantID, w.ObjectID, made.ID)
	if husk.CodeOf(err) == husk.CodeNotFound { // its removal may have passed before there was an RBD image
		return errors.Join(err, s.ceph.RemoveSnapshot(ctx, c.Name))
	}
	return err
}

// take makes now the moment of the snapshot. It removes the number of an interrupted attempt.
func (s *snapshots) take(ctx context.Context, w store.Work, volume ceph.Disk, before uint64) (uint64, error) {
	if before != 0 {
		if err := s.forget(ctx, w, volume, before); err != nil {
			return 0, err
		}
	}
	number, err := s.ceph.NewSnapshotID(ctx)
	if err != nil {
		return 0, err
	}
	if err := s.copies.Numbered(ctx, w.TenantID, w.ObjectID, number); err != nil {
		return 0, err
	}
	if err := s.ceph.MarkSnapshot(ctx, volume, number); err != nil {
		return 0, err
	}
	return number, s.copies.Taken(ctx, w.TenantID, w.ObjectID)
}

// forget removes the number of a snapshot that begins again.
func (s *snapshots) forget(ctx context.Context, w store.Work, volume ceph.Disk, number uint64) error {
	if err := s.ceph.ForgetSnapshot(ctx, volume, number); err != nil {
		return err
	}
	return s.copies.Numbered(ctx, w.TenantID, w.ObjectID, 0)
}

// progress records from time to time how much is copied.
func (s *snapshots) progress(ctx context.Context, w store.Work) func(copied, all int64) {
	var mu sync.Mutex
	last := time.Now()
	return func(copied, all int64) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(last) < progressEvery {
			return
		}
		last = time.Now()
		if err := s.copies.Progress(ctx, w.TenantID, w.ObjectID, int(99*copied/max(all, 1))); err != nil {
			s.log.Warn("the progress of a snapshot is not recorded", "tenant", w.TenantID, "snapshot", w.ObjectID, "error", err)
		}
	}
}

func (s *snapshots) remove(ctx context.Context, w store.Work) error {
	c, err := s.copies.Snapshot(ctx, w.TenantID, w.ObjectID)
	if err != nil {
		return err
	}
	if c.Number != 0 && c.Volume != nil {
		if err := s.ceph.ForgetSnapshot(ctx, cephDisk(*c.Volume), c.Number); err != nil {
			return err
		}
	}
	if err := s.ceph.RemoveSnapshot(ctx, c.Name); err != nil {
		return err
	}
	s.log.Info("removed a snapshot", "tenant", w.TenantID, "snapshot", w.ObjectID)
	return s.copies.Removed(ctx, w.TenantID, w.ObjectID)
}

// failed tells the owner of a snapshot why it is not made or removed yet. If the pod of the volume does not answer, the snapshot fails after some attempts.
func (s *snapshots) failed(ctx context.Context, w store.Work, err error) (verdict, error) {
	switch {
	case errors.Is(err, ceph.ErrNoAnswer) && w.Attempts >= snapshotAttempts:
		return verdict{final: true}, s.copies.Trouble(ctx, w.TenantID, w.ObjectID, "the virtual machine that uses the volume does not answer; delete the snapshot, and restart the pod", true)
	case errors.Is(err, ceph.ErrNoAnswer):
		return verdict{}, s.copies.Trouble(ctx, w.TenantID, w.ObjectID, "the virtual machine that uses the volume does not answer; Husk retries", false)
	case errors.Is(err, ceph.ErrSnapshotLost):
		return verdict{}, s.copies.Trouble(ctx, w.TenantID, w.ObjectID, "the volume was attached to a pod before it was copied; the snapshot begins again", false)
	}
	return verdict{}, s.copies.Trouble(ctx, w.TenantID, w.ObjectID, troubleText(err), false)
}
