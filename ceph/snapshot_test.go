// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ceph/go-ceph/rbd"

	"husk/dev"
)

// snapped makes a snapshot of a volume and stores it under a name.
func snapped(ctx context.Context, c *Cluster, d Disk, name string) (Disk, error) {
	id, err := c.NewSnapshotID(ctx)
	if err != nil {
		return Disk{}, err
	}
	if err := c.MarkSnapshot(ctx, d, id); err != nil {
		return Disk{}, err
	}
	stored, err := c.StoreSnapshot(ctx, d, id, name, nil)
	return stored, errors.Join(err, c.ForgetSnapshot(ctx, d, id))
}

// rawRead returns a byte of a snapshot.
func rawRead(t *testing.T, c *Cluster, name string, at int64) byte {
	t.Helper()
	img, err := rbd.OpenImageReadOnly(c.images, name, snapshot)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	b := make([]byte, 1)
	if _, err := img.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	return b[0]
}

// A pod writes before, while and after its volume is snapshotted. The snapshot has what was written before, and a clone begins with it.
func TestASnapshotIsAMomentOfAVolumeInUse(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx := t.Context()
	disk, err := c.CreateVolume(ctx, name(t, "vol"), 64<<20, "ext4")
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := c.CreateKey(ctx, name(t, "pod"), []Access{{Disk: disk, Write: true}})
	if err != nil {
		t.Fatal(err)
	}
	qemu := startQEMU(t, key, disk)
	qemu.awaitOpen(c, disk)
	qemu.do("write -P 1 20M 64k")
	qemu.await("wrote", 1)
	id, err := c.NewSnapshotID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.MarkSnapshot(ctx, disk, id); err != nil {
		t.Fatal(err)
	}
	qemu.do("write -P 2 20M 4k") // replaced
	qemu.await("wrote", 2)
	qemu.do("write -P 2 40M 4k") // new
	qemu.await("wrote", 3)
	snap, err := c.StoreSnapshot(ctx, disk, id, name(t, "snap"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ForgetSnapshot(ctx, disk, id); err != nil {
		t.Fatal(err)
	}
	qemu.do("write -P 3 20M 4k")
	qemu.do("discard 0 64M")
	qemu.do("write -P 4 21M 4k")
	qemu.end()
	for at, want := range map[int64]byte{20 << 20: 1, 20<<20 + 5<<10: 1, 40 << 20: 0} {
		if got := rawRead(t, c, snap.Name, at); got != want {
			t.Errorf("at %d, the snapshot has %d instead of %d", at, got, want)
		}
	}
	if changed, err := c.restoreHeader(disk.ID, disk.Header); err != nil || changed {
		t.Errorf("the snapshot has left something in the header: %v", err)
	}
	noClones(t, c, disk)

	clone, err := c.CloneSnapshot(ctx, snap, name(t, "clone"), 128<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	cloneKey, _, err := c.CreateKey(ctx, name(t, "pod2"), []Access{{Disk: clone, Write: true}})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := qemuIO(t, cloneKey, clone.Pool, clone.Name, false, "read -P 1 20M 64k", "write -P 9 20M 4k", "read -P 9 20M 4k", "read -P 1 20484k 4k", "write -P 8 100M 4k", "read -P 8 100M 4k"); err != nil || strings.Contains(out, "failed") {
		t.Errorf("the clone: %v\n%s", err, out)
	}
	if got := rawRead(t, c, snap.Name, 20<<20); got != 1 {
		t.Errorf("a write to the clone changed the snapshot to %d", got)
	}
	// A snapshot of a clone has what the clone shares with its parent.
	second, err := snapped(ctx, c, clone, name(t, "snap2"))
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[int64]byte{20 << 20: 9, 20<<20 + 8<<10: 1, 100 << 20: 8, 120 << 20: 0} {
		if got := rawRead(t, c, second.Name, at); got != want {
			t.Errorf("at %d, the snapshot of the clone has %d instead of %d", at, got, want)
		}
	}
	if err := c.RemoveSnapshot(ctx, snap.Name); !isBusy(err) {
		t.Errorf("a snapshot with a clone is removed: %v", err)
	}
	if _, err := c.GrowVolume(ctx, clone, 192<<20); err != nil {
		t.Errorf("a clone does not grow: %v", err)
	}
	for _, d := range []Disk{clone, disk} {
		if err := c.RemoveDisk(ctx, d); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []Disk{snap, second} {
		if err := c.RemoveSnapshot(ctx, s.Name); err != nil {
			t.Fatal(err)
		}
	}
}

func isBusy(err error) bool { _, ok := errors.AsType[*BusyError](err); return ok }

// noClones checks that RADOS keeps nothing for snapshots of the volume.
func noClones(t *testing.T, c *Cluster, d Disk) {
	t.Helper()
	if h, err := c.readHeader(d.ID); err != nil || h["snapshot_0000000000000001"] != nil || len(h) != len(d.Header) {
		t.Errorf("the header is %q, and was %q: %v", h, d.Header, err)
	}
}

func TestMakingASnapshotCanBeInterruptedAnywhere(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx := t.Context()
	disk, err := c.CreateVolume(ctx, name(t, "vol"), 16<<20, "ext4")
	if err != nil {
		t.Fatal(err)
	}
	var id uint64 // the server stores it
	interruptEverywhere(t, c, func() error {
		if id != 0 {
			if err := c.ForgetSnapshot(ctx, disk, id); err != nil {
				return err
			}
		}
		if id, err = c.NewSnapshotID(ctx); err != nil {
			return err
		}
		if err := c.MarkSnapshot(ctx, disk, id); err != nil {
			return err
		}
		if _, err := c.StoreSnapshot(ctx, disk, id, name(t, "snap"), nil); err != nil {
			return err
		}
		return c.ForgetSnapshot(ctx, disk, id)
	}, func() error { return c.RemoveSnapshot(ctx, name(t, "snap")) })
	if changed, err := c.restoreHeader(disk.ID, disk.Header); err != nil || changed {
		t.Errorf("something is left in the header: %v", err)
	}
}

// A server that hung continues to copy a snapshot that another has begun to copy again. It does not complete what the other one copies.
func TestTwoServersDoNotMixTheirCopiesOfASnapshot(t *testing.T) {
	t.Parallel()
	hung, other := connect(t), connect(t)
	ctx := t.Context()
	disk, err := hung.CreateVolume(ctx, name(t, "vol"), 16<<20, "ext4")
	if err != nil {
		t.Fatal(err)
	}
	number, err := hung.NewSnapshotID(ctx)
	if err := errors.Join(err, hung.MarkSnapshot(ctx, disk, number)); err != nil {
		t.Fatal(err)
	}
	snap := name(t, "snap")
	begun := false
	hung.after = func(step string) error {
		if step != "filled" || begun {
			return nil
		}
		begun = true
		other.after = func(step string) error { // so that the copy of the other server is incomplete
			if step == "made" {
				return errInterrupted
			}
			return nil
		}
		if _, err := other.StoreSnapshot(ctx, disk, number, snap, nil); !errors.Is(err, errInterrupted) {
			t.Errorf("the other server does not begin again: %v", err)
		}
		return nil
	}
	if made, err := hung.StoreSnapshot(ctx, disk, number, snap, nil); err == nil || !begun {
		t.Errorf("the server that hung has completed %+v, which the other one copies", made)
	}
	hung.after, other.after = func(string) error { return nil }, func(string) error { return nil }
	if _, err := other.readyDisk(snap, recipe{pool: other.images, state: snapshotState, check: func(*rbd.Image) error { return nil }}); !errors.Is(err, ErrNotFound) {
		t.Errorf("the incomplete copy of the other server counts as complete: %v", err)
	}
	if _, err := other.StoreSnapshot(ctx, disk, number, snap, nil); err != nil {
		t.Error(err)
	}
	if err := other.RemoveSnapshot(ctx, snap); err != nil {
		t.Error(err)
	}
	if err := errors.Join(hung.ForgetSnapshot(ctx, disk, number), hung.RemoveDisk(ctx, disk)); err != nil {
		t.Error(err)
	}
}

// The attacks of a pod on the snapshots of its volume, with everything that its key may do.
func TestAPodsKeyCannotHarmASnapshot(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx := t.Context()
	disk, err := c.CreateVolume(ctx, name(t, "vol"), 16<<20, "ext4")
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := c.CreateKey(ctx, name(t, "pod"), []Access{{Disk: disk, Write: true}})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := qemuIO(t, key, disk.Pool, disk.Name, false, "write -P 1 4M 64k"); err != nil {
		t.Fatal(out)
	}
	snap, err := snapped(ctx, c, disk, name(t, "snap"))
	if err != nil {
		t.Fatal(err)
	}
	// Writes without the number of a snapshot, as rados sends them, to objects that the snapshot has and that it does not have.
	for n := range 4 {
		if out, err := asUser(t, key, "rados", "-p", disk.Pool, "put", fmt.Sprintf("rbd_data.%s.%016x", disk.ID, n), "/etc/passwd"); err != nil {
			t.Fatalf("the attack does not work: %v: %s", err, out)
		}
	}
	for _, args := range [][]string{
		{"rados", "-p", snap.Pool, "get", fmt.Sprintf("rbd_data.%s.%016x", snap.ID, 1), "-"},
		{"rados", "-p", snap.Pool, "put", fmt.Sprintf("rbd_data.%s.%016x", snap.ID, 1), "/etc/passwd"},
		{"rados", "-p", snap.Pool, "rm", fmt.Sprintf("rbd_data.%s.%016x", snap.ID, 1)},
		{"rados", "-p", snap.Pool, "listomapvals", headerObject(snap.ID)},
		{"rados", "-p", snap.Pool, "rmomapkey", headerObject(snap.ID), "object_prefix"},
		{"rados", "-p", snap.Pool, "rm", "rbd_id." + snap.Name},
		{"rbd", "snap", "rm", snap.Pool + "/" + snap.Name + "@" + snapshot},
		{"rbd", "rm", snap.Pool + "/" + snap.Name},
		{"rbd", "snap", "create", disk.Pool + "/" + disk.Name + "@mine"}, // whose key may take a number may also remove those of others
	} {
		if out, err := asUser(t, key, args...); err == nil {
			t.Errorf("%v is allowed: %s", args, out)
		}
	}
	for at, want := range map[int64]byte{4 << 20: 1, 8 << 20: 0, 12 << 20: 0} {
		if got := rawRead(t, c, snap.Name, at); got != want {
			t.Errorf("at %d, the snapshot has %d instead of %d", at, got, want)
		}
	}
}

// The key of a pod with a clone reads the snapshot, and neither the volume of which it is nor other snapshots.
func TestTheKeyOfACloneReadsOnlyItsSnapshot(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx := t.Context()
	disk, err := c.CreateVolume(ctx, name(t, "vol"), 16<<20, "ext4")
	if err != nil {
		t.Fatal(err)
	}
	snap, err1 := snapped(ctx, c, disk, name(t, "snap"))
	other, err2 := snapped(ctx, c, disk, name(t, "other"))
	clone, err3 := c.CloneSnapshot(ctx, snap, name(t, "clone"), 16<<20, nil)
	key, _, err4 := c.CreateKey(ctx, name(t, "pod"), []Access{{Disk: clone, Write: true}})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	first := func(id string) string { return "rbd_data." + id + ".0000000000000000" }
	if out, err := asUser(t, key, "rados", "-p", dev.ImagesPool, "get", first(snap.ID), "/dev/null"); err != nil {
		t.Errorf("its own snapshot: %v: %s", err, out)
	}
	for _, args := range [][]string{
		{dev.VolumesPool, "get", first(disk.ID), "/dev/null"},
		{dev.ImagesPool, "get", first(other.ID), "/dev/null"},
		{dev.ImagesPool, "put", first(snap.ID), "/etc/passwd"},
		{dev.ImagesPool, "rm", first(snap.ID)},
		{dev.ImagesPool, "setomapval", headerObject(snap.ID), "size", "x"},
		{dev.ImagesPool, "rm", headerObject(snap.ID)},
		{dev.VolumesPool, "listomapkeys", headerObject(disk.ID)},
		{dev.ImagesPool, "ls"},
		{dev.VolumesPool, "ls"},
	} {
		if out, err := asUser(t, key, append([]string{"rados", "-p"}, args...)...); err == nil {
			t.Errorf("%v is allowed: %s", args, out)
		}
	}
}

// What a pod writes to its header while the server makes a snapshot harms nobody, and cannot make an incomplete snapshot look complete.
func TestAForgedHeaderDoesNotMisleadASnapshot(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx := t.Context()
	victim, err := c.CreateVolume(ctx, name(t, "victim"), 64<<20, "ext4")
	if err != nil {
		t.Fatal(err)
	}
	unharmed := put(t, c, victim)
	for what, header := range map[string]Header{
		"the data of another disk": {"object_prefix": omapString("rbd_data." + victim.ID)},
		"a huge number":            {"snap_seq": binary.LittleEndian.AppendUint64(nil, 1<<62)},
		"another size":             {"size": sizeValue(100 << 40), "order": {255}},
		"no snapshot":              {},
	} {
		disk, err := c.CreateVolume(ctx, name(t, fmt.Sprintf("s%x", what)[:14]), 16<<20, "ext4")
		if err != nil {
			t.Fatal(err)
		}
		key, _, err := c.CreateKey(ctx, name(t, "pod"), []Access{{Disk: disk, Write: true}})
		if err != nil {
			t.Fatal(err)
		}
		writeHeader(t, key, disk, header)
		id, err := c.NewSnapshotID(ctx)
		if err == nil {
			err = c.MarkSnapshot(ctx, disk, id)
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if len(header) == 0 {
			if out, err := asUser(t, key, "rados", "-p", disk.Pool, "rmomapkey", headerObject(disk.ID), snapshotKey(id)); err != nil {
				t.Fatalf("the attack does not work: %v: %s", err, out)
			}
		} else {
			writeHeader(t, key, disk, header)
		}
		snap, err := c.StoreSnapshot(ctx, disk, id, name(t, fmt.Sprintf("x%x", what)[:14]), nil)
		switch {
		case len(header) == 0 && !errors.Is(err, ErrSnapshotLost):
			t.Errorf("%s: a snapshot that is incomplete is stored: %v", what, err)
		case len(header) > 0 && (err != nil || snap.SizeBytes != 16<<20 || rawRead(t, c, snap.Name, 0) != 0):
			t.Errorf("%s: %+v, %v", what, snap, err)
		}
		if err := errors.Join(c.ForgetSnapshot(ctx, disk, id), c.RemoveDisk(ctx, disk)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		unharmed(what)
	}
}

// A pod that has its volume open and does not answer cannot delay the server.
func TestASilentClientDoesNotDelayASnapshot(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx := t.Context()
	disk, err := c.CreateVolume(ctx, name(t, "vol"), 16<<20, "ext4")
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := c.CreateKey(ctx, name(t, "pod"), []Access{{Disk: disk, Write: true}})
	if err != nil {
		t.Fatal(err)
	}
	qemu := startQEMU(t, key, disk)
	qemu.awaitOpen(c, disk)
	if out, err := exec.CommandContext(ctx, "kill", "-STOP", fmt.Sprint(qemu.cmd.Process.Pid)).CombinedOutput(); err != nil {
		t.Fatal(string(out))
	}
	id, err := c.NewSnapshotID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.MarkSnapshot(ctx, disk, id); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("the snapshot of a volume whose client does not answer: %v", err)
	}
	if out, err := exec.CommandContext(ctx, "kill", "-CONT", fmt.Sprint(qemu.cmd.Process.Pid)).CombinedOutput(); err != nil {
		t.Fatal(string(out))
	}
	qemu.end()
	if err := c.ForgetSnapshot(ctx, disk, id); err != nil {
		t.Error(err)
	}
}

// A flattened volume needs no snapshot any more.
func TestAFlattenedCloneIsIndependent(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx := t.Context()
	disk, err := c.CreateVolume(ctx, name(t, "vol"), 16<<20, "ext4")
	if err != nil {
		t.Fatal(err)
	}
	snap, err := snapped(ctx, c, disk, name(t, "snap"))
	if err != nil {
		t.Fatal(err)
	}
	var clone Disk
	var told atomic.Int64
	interruptEverywhere(t, c, func() (err error) {
		clone, err = c.CloneSnapshot(ctx, snap, name(t, "clone"), 32<<20, func(copied, all int64) {
			if copied < 0 || copied > all || all > 8 { // objects of 4 MiB
				t.Errorf("%d of %d objects are copied", copied, all)
			}
			told.Add(1)
		})
		return err
	}, func() error { return c.RemoveDisk(ctx, Disk{Name: name(t, "clone"), ParentID: snap.ID}) })
	if clone, err = c.CloneSnapshot(ctx, snap, name(t, "clone"), 32<<20, func(int64, int64) {}); err != nil || clone.Parent != "" {
		t.Errorf("the clone is %+v: %v", clone, err)
	}
	if told.Load() == 0 {
		t.Error("the progress is not told")
	}
	canceled, cancel := context.WithCancelCause(ctx)
	deleted := errors.New("the volume is deleted")
	_, err = c.CloneSnapshot(canceled, snap, name(t, "canceled"), 32<<20, func(int64, int64) { cancel(deleted) })
	if !errors.Is(err, deleted) {
		t.Errorf("a copy that is canceled ends with %v", err)
	}
	if err := c.RemoveDisk(ctx, Disk{Name: name(t, "canceled"), ParentID: snap.ID}); err != nil {
		t.Error(err)
	}
	if err := c.RemoveSnapshot(ctx, snap.Name); err != nil {
		t.Error(err)
	}
	if snapshots, err := c.ListSnapshots(ctx); err != nil || slices.Contains(snapshots, snap.Name) {
		t.Errorf("the snapshots are %v: %v", snapshots, err)
	}
}
