// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ceph/go-ceph/rbd"

	"husk/dev"
)

// omapString is a string as Ceph encodes it in a header.
func omapString(s string) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(s))), s...) //nolint:gosec // a short name
}

// writeHeader writes keys of a disk's header with a pod's key, like an attacker in the pod's QEMU.
func writeHeader(t *testing.T, key Key, disk Disk, values Header) {
	t.Helper()
	for name, value := range values {
		file := filepath.Join(t.TempDir(), "value")
		if err := os.WriteFile(file, value, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := asUser(t, key, "rados", "-p", disk.Pool, "setomapval", headerObject(disk.ID), name, "--input-file", file); err != nil {
			t.Fatalf("the attack does not work: %v: %s", err, out)
		}
	}
}

// put writes an object that must survive, and returns a function that checks it.
func put(t *testing.T, c *Cluster, disk Disk) func(what string) {
	t.Helper()
	object := "rbd_data." + disk.ID + ".0000000000000007"
	want := []byte("data of another tenant")
	if err := c.volumes.WriteFull(object, want); err != nil {
		t.Fatal(err)
	}
	return func(what string) {
		t.Helper()
		got := make([]byte, 100)
		n, err := c.volumes.Read(object, got, 0)
		if err != nil || !bytes.Equal(got[:n], want) {
			t.Errorf("%s: the object of another tenant is %q: %v", what, got[:n], err)
		}
	}
}

// A pod can write the headers of its own disks. Whatever it writes there, the server removes the disk, and nothing else.
func TestAForgedHeaderHarmsNobody(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx := t.Context()
	victim, err := c.CreateVolume(ctx, name(t, "victim"), 64<<20, "ext4")
	if err != nil {
		t.Fatal(err)
	}
	unharmed := put(t, c, victim)
	imagesPool, err := c.conn.GetPoolByName(dev.ImagesPool)
	if err != nil {
		t.Fatal(err)
	}
	forged := map[string]Header{
		"an order that divides by zero":   {"order": {255}},
		"an order of zero":                {"order": {0}},
		"the data of another disk":        {"object_prefix": omapString("rbd_data." + victim.ID)},
		"data in another pool":            {"data_pool_id": binary.LittleEndian.AppendUint64(nil, uint64(imagesPool))}, //nolint:gosec // small
		"100 TiB":                         {"size": binary.LittleEndian.AppendUint64(nil, 100<<40)},
		"a snapshot":                      {"snapshot_0000000000000001": []byte("not a snapshot"), "snap_seq": binary.LittleEndian.AppendUint64(nil, 1)},
		"features that nobody knows":      {"features": binary.LittleEndian.AppendUint64(nil, 1<<63)},
		"a value of 50 MB":                {"metadata_x": make([]byte, 50<<20)},
		"a parent":                        {"parent": bytes.Repeat([]byte{0xff}, 40)},
		"an object prefix without an end": {"object_prefix": {255, 255, 255, 255}},
	}
	for _, kept := range []bool{true, false} {
		for what, header := range forged {
			if !kept && (what == "100 TiB" || what == "features that nobody knows" || what == "a parent" || what == "a value of 50 MB") {
				continue // without the original, the server cannot know these; it fails, and nothing is harmed
			}
			disk, err := c.CreateVolume(ctx, name(t, fmt.Sprintf("d%x", what)[:12]), 64<<20, "ext4")
			if err != nil {
				t.Fatal(err)
			}
			key, _, err := c.CreateKey(ctx, name(t, "pod"), []Access{{Disk: disk, Write: true}})
			if err != nil {
				t.Fatal(err)
			}
			writeHeader(t, key, disk, header)
			if !kept {
				disk.Header = nil
			}
			if err := c.RemoveDisk(ctx, disk); err != nil {
				t.Errorf("%s, original kept: %t: %v", what, kept, err)
			}
			if disks, err := c.ListDisks(ctx); err != nil || slices.Contains(disks, disk.Name) {
				t.Errorf("%s, original kept: %t: the disk still exists: %v", what, kept, err)
			}
			unharmed(what)
		}
	}
	if err := c.RemoveKey(ctx, name(t, "pod")); err != nil {
		t.Fatal(err)
	}
	if keys, err := c.ListKeys(ctx); err != nil || slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, removalPrefix+"d") }) {
		t.Errorf("keys of removals are left: %v: %v", keys, err)
	}
}

// The key of a removal cannot remove anything else, so a header that is changed during the removal harms nobody.
func TestAKeyForARemovalOpensOnlyItsDisk(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx := t.Context()
	mine, err1 := c.CreateVolume(ctx, name(t, "mine"), 64<<20, "ext4")
	other, err2 := c.CreateVolume(ctx, name(t, "other"), 64<<20, "ext4")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	unharmed := put(t, c, other)
	caps, err := c.removalCaps(mine, mine.ID)
	if err != nil {
		t.Fatal(err)
	}
	key, err := c.createKey(ctx, removalPrefix+mine.Name, caps)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inChild(ctx, task{ConfFile: c.cfg.ConfFile, Pool: other.Pool, Name: other.Name, Key: key}); err == nil {
		t.Error("the key of a removal removes another disk")
	}
	// The header is changed after it was restored.
	if err := c.volumes.SetOmap(headerObject(mine.ID), Header{"object_prefix": omapString("rbd_data." + other.ID)}); err != nil {
		t.Fatal(err)
	}
	_, _ = inChild(ctx, task{ConfFile: c.cfg.ConfFile, Pool: mine.Pool, Name: mine.Name, Key: key}) //nolint:errcheck // it may succeed or fail
	unharmed("a header that was changed during the removal")
	if err := c.RemoveKey(ctx, removalPrefix+mine.Name); err != nil {
		t.Fatal(err)
	}
}

// A pod changes the parent and the size of its disks. The next pod with these disks gets what the server created.
func TestAForgedHeaderGivesTheNextPodNothing(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx := t.Context()
	if _, err := store(t, c, squashfs(t)); err != nil {
		t.Fatal(err)
	}
	foreign := "sha256:" + strings.Repeat("e", 60) + "0bad" // of another tenant
	if _, err := c.StoreImage(ctx, foreign, name(t, "foreign"), squashfs(t)); err != nil {
		t.Fatal(err)
	}
	clone, err1 := c.CloneForTenant(ctx, digest(t), name(t, "clone"))
	theirs, err2 := c.CloneForTenant(ctx, foreign, name(t, "theirs"))
	volume, err3 := c.CreateVolume(ctx, name(t, "volume"), 64<<20, "ext4")
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	access := []Access{{Disk: clone}, {Disk: volume, Write: true}}
	key, tampered, err := c.CreateKey(ctx, name(t, "first"), access)
	if err != nil || len(tampered) != 0 {
		t.Fatalf("%v is reported as changed: %v", tampered, err)
	}
	writeHeader(t, key, clone, Header{"parent": theirs.Header["parent"]})
	writeHeader(t, key, volume, Header{"size": binary.LittleEndian.AppendUint64(nil, 100<<40)})
	key, tampered, err = c.CreateKey(ctx, name(t, "second"), access)
	if err != nil || !slices.Equal(tampered, []string{clone.Name, volume.Name}) {
		t.Errorf("%v is reported as changed: %v", tampered, err)
	}
	foreignID := importWithData(t, c, foreign)
	if out, err := asUser(t, key, "rados", "-p", dev.ImagesPool, "get", "rbd_data."+foreignID+".0000000000000000", "-"); err == nil {
		t.Errorf("a pod reads another tenant's image: %.100s", out)
	}
	for disk, size := range map[string]int64{clone.Name: clone.SizeBytes, volume.Name: volume.SizeBytes} {
		img, err := rbd.OpenImageReadOnly(c.volumes, disk, "")
		if err != nil {
			t.Fatal(err)
		}
		now, err := img.GetSize()
		if err := errors.Join(err, img.Close()); err != nil || int64(now) != size { //nolint:gosec // far below 2^63
			t.Errorf("%s has %d bytes, want %d: %v", disk, now, size, err)
		}
	}
	for _, d := range []Disk{clone, theirs, volume} {
		if err := c.RemoveDisk(ctx, d); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(c.RemoveImage(ctx, digest(t)), c.RemoveImage(ctx, foreign)); err != nil {
		t.Error(err)
	}
	for _, pod := range []string{"first", "second"} {
		if err := c.RemoveKey(ctx, name(t, pod)); err != nil {
			t.Error(err)
		}
	}
}
