// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ceph/go-ceph/rbd"

	"husk/dev/devtest"
)

func sizeOf(t *testing.T, c *Cluster, name string) uint64 {
	t.Helper()
	img, err := rbd.OpenImageReadOnly(c.volumes, name, "")
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	size, err := img.GetSize()
	if err != nil {
		t.Fatal(err)
	}
	id, err := img.GetId()
	if err != nil {
		t.Fatal(err)
	}
	if h, err := c.readHeader(id); err != nil || !bytes.Equal(h["flags"], make([]byte, 8)) && h["flags"] != nil {
		t.Errorf("the flags of %s are %v (%v): its object map is invalid", name, h["flags"], err)
	}
	return size
}

func TestGrowingAVolumeCanBeInterruptedAnywhere(t *testing.T) {
	t.Parallel()
	c := connect(t)
	var disk Disk
	undo := func() (err error) {
		if err = c.RemoveDisk(t.Context(), Disk{Name: name(t, "vol")}); err == nil {
			disk, err = c.CreateVolume(t.Context(), name(t, "vol"), 64<<20, "ext4")
		}
		return err
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	interruptEverywhere(t, c, func() error {
		grown, err := c.GrowVolume(t.Context(), disk, 128<<20)
		if err == nil && (grown.SizeBytes != 128<<20 || sizeOf(t, c, disk.Name) != 128<<20) {
			t.Errorf("the volume has %d bytes", sizeOf(t, c, disk.Name))
		}
		if err != nil {
			return err
		}
		// The header that is kept from now on is the one in Ceph.
		if changed, err := c.restoreHeader(grown.ID, grown.Header); err != nil || changed {
			t.Errorf("the header of the grown volume is not the expected one: %v", err)
		}
		return nil
	}, undo)
	if keys, err := c.ListKeys(t.Context()); err != nil || slices.ContainsFunc(keys, func(k string) bool { return strings.HasSuffix(k, disk.Name) }) {
		t.Errorf("keys are left: %v: %v", keys, err)
	}
}

// A pod's QEMU has the volume locked, and continues to write to it.
func TestAVolumeGrowsWhileAPodWritesIt(t *testing.T) {
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
	qemu.do("write -P 7 1M 4k")
	qemu.awaitOpen(c, disk)
	grown, err := c.GrowVolume(ctx, disk, 128<<20)
	if err != nil {
		t.Fatal(err)
	}
	if size := sizeOf(t, c, disk.Name); size != 128<<20 {
		t.Errorf("the volume has %d bytes", size)
	}
	qemu.do("write -P 8 2M 4k")
	qemu.do("truncate 128M") // like block_resize
	qemu.do("write -P 9 100M 4k")
	qemu.end()
	if out, err := qemuIO(t, key, disk.Pool, disk.Name, false, "read -P 7 1M 4k", "read -P 8 2M 4k", "read -P 9 100M 4k"); err != nil || strings.Contains(out, "failed") {
		t.Errorf("the data is not there: %v: %s", err, out)
	}
	if size := sizeOf(t, c, disk.Name); size != 128<<20 {
		t.Errorf("the volume has %d bytes", size)
	}
	if _, tampered, err := c.CreateKey(ctx, name(t, "pod"), []Access{{Disk: grown, Write: true}}); err != nil || len(tampered) > 0 {
		t.Errorf("the next key finds a changed header: %v, %v", tampered, err)
	}
}

// A pod that writes its header cannot make the growth harm another volume, or succeed with another size.
func TestAForgedHeaderDoesNotMisleadTheGrowth(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx := t.Context()
	victim, err := c.CreateVolume(ctx, name(t, "victim"), 64<<20, "ext4")
	if err != nil {
		t.Fatal(err)
	}
	unharmed := put(t, c, victim)
	for what, header := range map[string]Header{
		"an order that divides by zero":              {"order": {255}},
		"the data of another disk":                   {"object_prefix": omapString("rbd_data." + victim.ID)},
		"a smaller size":                             {"size": sizeValue(1 << 20)},
		"a larger size":                              {"size": sizeValue(100 << 40)},
		"a snapshot":                                 {"snapshot_0000000000000001": []byte("not a snapshot")},
		"the size that is wanted, and another order": {"size": sizeValue(128 << 20), "order": {255}},
	} {
		disk, err := c.CreateVolume(ctx, name(t, fmt.Sprintf("g%x", what)[:14]), 64<<20, "ext4")
		if err != nil {
			t.Fatal(err)
		}
		key, _, err := c.CreateKey(ctx, name(t, "pod"), []Access{{Disk: disk, Write: true}})
		if err != nil {
			t.Fatal(err)
		}
		writeHeader(t, key, disk, header)
		grown, err := c.GrowVolume(ctx, disk, 128<<20)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		now, err := c.readHeader(disk.ID)
		if err != nil || !bytes.Equal(now["size"], sizeValue(128<<20)) || !bytes.Equal(now["order"], disk.Header["order"]) || !bytes.Equal(now["object_prefix"], disk.Header["object_prefix"]) {
			t.Errorf("%s: the header is now %q: %v", what, now, err)
		}
		if err := c.RemoveDisk(ctx, grown); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		unharmed(what)
	}
}

// qemu is a running qemu-io with a disk open.
type qemu struct {
	t   *testing.T
	in  io.WriteCloser
	out *output
	cmd *exec.Cmd
}

func startQEMU(t *testing.T, key Key, disk Disk) *qemu {
	t.Helper()
	target := fmt.Sprintf("rbd:%s/%s:id=%s:key=%s:conf=%s", disk.Pool, disk.Name, key.User, key.Secret, devtest.Ceph(t).CephConf())
	q := &qemu{t: t, out: &output{}, cmd: exec.CommandContext(t.Context(), "qemu-io", "-f", "raw", target)}
	q.cmd.Stdout, q.cmd.Stderr = q.out, q.out
	var err error
	if q.in, err = q.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := q.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return q
}

func (q *qemu) do(command string) {
	q.t.Helper()
	if _, err := io.WriteString(q.in, command+"\n"); err != nil {
		q.t.Fatal(err)
	}
}

// awaitOpen waits until QEMU has the disk open.
func (q *qemu) awaitOpen(c *Cluster, disk Disk) {
	q.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		watchers, err := c.Watchers(q.t.Context(), disk.Name)
		switch {
		case err != nil || time.Now().After(deadline):
			q.t.Fatalf("QEMU does not open the disk: %v", err)
		case len(watchers) > 0:
			return
		}
	}
}

// await waits until QEMU has printed a text so often.
func (q *qemu) await(text string, times int) {
	q.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); strings.Count(q.out.String(), text) < times; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			q.t.Fatalf("QEMU has not printed %q %d times: %s", text, times, q.out)
		}
	}
}

// end waits until QEMU has done everything.
func (q *qemu) end() {
	q.t.Helper()
	if err := q.in.Close(); err != nil {
		q.t.Fatal(err)
	}
	if err := q.cmd.Wait(); err != nil || strings.Contains(q.out.String(), "failed") || strings.Contains(q.out.String(), "rror") {
		q.t.Errorf("QEMU: %v: %s", err, q.out)
	}
}

// output is what a running process has printed.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
