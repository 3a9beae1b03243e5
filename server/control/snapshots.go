// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/ceph"
	"husk/store"
	"husk/store/disks"
)

const (
	// snapshotTimeout limits the copy of one snapshot, to it or to a volume.
	snapshotTimeout = 6 * time.Hour
	// snapshotAttempts is after how many attempts a snapshot fails whose volume's pod does not answer.
	snapshotAttempts = 4
	// thawTimeout is how long the guest of a pod may take to thaw a file system. It does so by itself, too.
	thawTimeout = 10 * time.Second
)

// snapshots copies volumes to snapshots and removes those that were deleted.
type snapshots struct {
	copies disks.Copies
	ceph   *ceph.Cluster
	guests Guests
	log    *slog.Logger
}

// Guests calls the guests of pods.
type Guests interface {
	// Freeze freezes the file system of a volume, by the serial of its disk. The guest thaws it by itself after some seconds.
	Freeze(ctx context.Context, node husk.Node, pod store.ID, serial string) error
	// Thaw ends that. It fails if the file system is not frozen any more.
	Thaw(ctx context.Context, node husk.Node, pod store.ID, serial string) error
}

// errNotFrozen means that a file system was not frozen at the moment of the snapshot.
var errNotFrozen = errors.New("the file system was not frozen")

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
		if c.Number, err = s.take(ctx, w, c, volume); err != nil {
			return err
		}
	}
	copying, progress, stop := percentOf(ctx, w, s.log, s.copies.Progress)
	defer stop()
	made, err := s.ceph.StoreSnapshot(copying, volume, c.Number, c.Name, progress)
	if deleted := context.Cause(copying); err != nil && husk.CodeOf(deleted) == husk.CodeNotFound {
		return errors.Join(deleted, s.ceph.RemoveSnapshot(ctx, c.Name)) // its removal may have passed already
	}
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
func (s *snapshots) take(ctx context.Context, w store.Work, c disks.ToCopy, volume ceph.Disk) (uint64, error) {
	if c.Number != 0 {
		if err := s.forget(ctx, w, volume, c.Number); err != nil {
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
	mark := func() error { return s.ceph.MarkSnapshot(ctx, volume, number) }
	if c.Consistent {
		err = s.frozen(ctx, w, c, mark)
	} else {
		err = mark()
	}
	if err != nil {
		return 0, err
	}
	return number, s.copies.Taken(ctx, w.TenantID, w.ObjectID)
}

// frozen calls mark while the file system of the volume is frozen in its pod. It fails if the file system thawed before, or if another pod got the
// volume meanwhile. Without a pod, there is nothing to freeze.
func (s *snapshots) frozen(ctx context.Context, w store.Work, c disks.ToCopy, mark func() error) error {
	used := c.User.Pod != uuid.Nil
	if used {
		if err := s.guests.Freeze(ctx, c.User.Node, c.User.Pod, c.Serial); err != nil {
			return errors.Join(errNotFrozen, err)
		}
	}
	err := mark()
	if used {
		thaw, cancel := context.WithTimeout(context.WithoutCancel(ctx), thawTimeout)
		defer cancel()
		if e := s.guests.Thaw(thaw, c.User.Node, c.User.Pod, c.Serial); e != nil {
			err = errors.Join(err, errNotFrozen, e)
		}
	}
	if err != nil {
		return err
	}
	now, err := s.copies.Snapshot(ctx, w.TenantID, w.ObjectID)
	if err == nil && !now.User.Same(c.User) {
		err = errNotFrozen
	}
	return err
}

// forget removes the number of a snapshot that begins again.
func (s *snapshots) forget(ctx context.Context, w store.Work, volume ceph.Disk, number uint64) error {
	if err := s.ceph.ForgetSnapshot(ctx, volume, number); err != nil {
		return err
	}
	return s.copies.Numbered(ctx, w.TenantID, w.ObjectID, 0)
}

// percentOf records from time to time how much of an object is copied. The context of the copy ends as soon as the object is gone or is being deleted:
// its cause is the error not_found then.
func percentOf(ctx context.Context, w store.Work, log *slog.Logger, record func(ctx context.Context, tenant, id uuid.UUID, percent int) error) (copying context.Context, progress ceph.Progress, stop func()) {
	copying, cancel := context.WithCancelCause(ctx)
	var mu sync.Mutex
	last := time.Now()
	progress = func(copied, all int64) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(last) < progressEvery {
			return
		}
		last = time.Now()
		err := record(copying, w.TenantID, w.ObjectID, int(99*copied/max(all, 1)))
		switch {
		case husk.CodeOf(err) == husk.CodeNotFound:
			cancel(err)
		case err != nil && copying.Err() == nil:
			log.Warn("the progress of a copy is not recorded", "tenant", w.TenantID, "object", w.ObjectID, "error", err)
		}
	}
	return copying, progress, func() { cancel(nil) }
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
	if err := s.ceph.RemoveDisk(ctx, cephDisk(c.View)); err != nil {
		return err
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
	case errors.Is(err, errNotFrozen) && w.Attempts >= snapshotAttempts:
		return verdict{final: true}, s.copies.Trouble(ctx, w.TenantID, w.ObjectID, "the file system of the volume could not be frozen, because its pod does not answer or is being changed; delete the snapshot, and retry", true)
	case errors.Is(err, errNotFrozen):
		return verdict{}, s.copies.Trouble(ctx, w.TenantID, w.ObjectID, "the file system of the volume could not be frozen; Husk retries", false)
	case errors.Is(err, ceph.ErrSnapshotLost):
		return verdict{}, s.copies.Trouble(ctx, w.TenantID, w.ObjectID, "the volume was attached to a pod before it was copied; the snapshot begins again", false)
	}
	return verdict{}, s.copies.Trouble(ctx, w.TenantID, w.ObjectID, troubleText(err), false)
}
