// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ceph/go-ceph/rbd"
	"github.com/google/go-cmp/cmp"

	"husk/dev"
	"husk/dev/devtest"
)

func TestMain(m *testing.M) {
	BeChild()
	devtest.Main(m)
}

var errInterrupted = errors.New("interrupted by the test")

func connect(t *testing.T) *Cluster {
	t.Helper()
	s := devtest.Ceph(t)
	c, err := Connect(t.Context(), Config{
		ConfFile: s.CephConf(), User: dev.CephUser, Keyring: s.CephKeyring(),
		ImagesPool: dev.ImagesPool, VolumesPool: dev.VolumesPool, WorkDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func digest(t *testing.T) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(t.Name()))) }

// name returns a name for a disk or pod of this test only.
func name(t *testing.T, kind string) string {
	return fmt.Sprintf("%s-%x", kind, sha256.Sum256([]byte(t.Name())))[:40]
}

// someFiles writes files of a few MiB that cannot be compressed.
func someFiles(w io.Writer) error {
	const size = 9 << 20
	tw := tar.NewWriter(w)
	if err := tw.WriteHeader(&tar.Header{Name: "data", Mode: 0o644, Size: size, Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	if _, err := io.CopyN(tw, rand.NewChaCha8([32]byte{1}), size); err != nil {
		return err
	}
	if err := tw.WriteHeader(&tar.Header{Name: "bin/su", Mode: 0o4755, Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	return tw.Close()
}

// squashfs returns a squashfs file with someFiles.
func squashfs(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "squashfs")
	cmd := exec.CommandContext(t.Context(), "sqfstar", "-quiet", "-no-progress", file)
	var tarball bytes.Buffer
	if err := someFiles(&tarball); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = &tarball
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sqfstar: %v\n%s", err, out)
	}
	return file
}

// store stores a squashfs file as the image of this test.
func store(t *testing.T, c *Cluster, file string) (ImportedImage, error) {
	t.Helper()
	return c.StoreImage(t.Context(), digest(t), name(t, "staging"), file)
}

// interruptEverywhere runs an operation repeatedly, and interrupts it one step later each time.
// After each interruption, a complete run must succeed. Undo restores the state before the
// operation.
func interruptEverywhere(t *testing.T, c *Cluster, operation, undo func() error) {
	t.Helper()
	for n := 1; ; n++ {
		var steps []string
		c.after = func(step string) error {
			if steps = append(steps, step); len(steps) == n {
				return errInterrupted
			}
			return nil
		}
		err := operation()
		c.after = func(string) error { return nil }
		if err != nil && !errors.Is(err, errInterrupted) {
			t.Fatalf("run up to %v: %v", steps, err)
		}
		whole := err == nil
		for range 2 {
			if err := operation(); err != nil {
				t.Fatalf("again after %v: %v", steps, err)
			}
		}
		for range 2 {
			if err := undo(); err != nil {
				t.Fatalf("undo after %v: %v", steps, err)
			}
		}
		if whole {
			if n < 3 {
				t.Errorf("only %d steps: the operation was not interrupted", n)
			}
			return
		}
	}
}

func export(t *testing.T, pool, image string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "export")
	run(t, "rbd", "-c", devtest.Ceph(t).CephConf(), "export", "--no-progress", pool+"/"+image, file)
	return file
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// StoreImage writes all of an image even if the image exists, and keeps the first.
func TestAnImageIsKeptOnce(t *testing.T) {
	t.Parallel()
	c := connect(t)
	file := squashfs(t)
	began := time.Now()
	first, err := store(t, c, file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("stored %d bytes in %s", first.SizeBytes, time.Since(began))
	chunks := 0
	c.after = func(step string) error {
		if step == "chunk" {
			chunks++
		}
		return nil
	}
	second, err := c.StoreImage(t.Context(), digest(t), name(t, "other"), file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" || !first.Complete {
		t.Errorf("stored again (-first +second):\n%s", diff)
	}
	if want := int((first.SizeBytes + chunkSize - 1) / chunkSize); chunks != want {
		t.Errorf("stored again in %d chunks, want %d: the time shows that the image existed", chunks, want)
	}
	if left, err := c.ListStaging(t.Context()); err != nil || slices.Contains(left, name(t, "staging")) || slices.Contains(left, name(t, "other")) {
		t.Errorf("what is left under staging names is %v: %v", left, err)
	}
	listing := run(t, "unsquashfs", "-ll", export(t, dev.ImagesPool, first.Name+"@husk"))
	for _, want := range []string{"-rwsr-xr-x root/root", "9437184", "squashfs-root/data"} {
		if !strings.Contains(listing, want) {
			t.Errorf("squashfs has no %q:\n%s", want, listing)
		}
	}
}

func TestStoringAnImageCanBeInterruptedAnywhere(t *testing.T) {
	t.Parallel()
	c := connect(t)
	file := squashfs(t)
	interruptEverywhere(t, c, func() error {
		_, err := store(t, c, file)
		return err
	}, func() error {
		return errors.Join(c.RemoveStaging(t.Context(), name(t, "staging")), c.RemoveImage(t.Context(), digest(t)))
	})
}

func TestRemovingAnImageCanBeInterruptedAnywhere(t *testing.T) {
	t.Parallel()
	c := connect(t)
	file := squashfs(t)
	interruptEverywhere(t, c, func() error {
		hook := c.after
		c.after = func(string) error { return nil }
		if _, err := store(t, c, file); err != nil {
			return err
		}
		c.after = hook
		return c.RemoveImage(t.Context(), digest(t))
	}, func() error { return nil })
	list, err := c.ListDigests(t.Context())
	if err != nil || slices.Contains(list, digest(t)) {
		t.Errorf("still listed: %v, %v", list, err)
	}
}

// Listing costs one read of the pool's directory, however many images there are. So it also works if one of them cannot be opened.
func TestListingOpensNoImage(t *testing.T) {
	t.Parallel()
	c := connect(t)
	rbdName, err := imageName(digest(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := create(c.images, rbdName, 1<<20, rbd.FeatureLayering); err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 128)
	n, err := c.images.Read("rbd_id."+rbdName, raw, 0)
	if err != nil {
		t.Fatal(err)
	}
	header := headerObject(string(raw[4:n]))
	size := make([]byte, 8)
	kept, err := c.images.GetAllOmapValues(header, "", "", 100)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.images.RmOmapKeys(header, []string{"size"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.inspectImage(rbdName); err == nil {
		t.Error("the image can be opened, so the test proves nothing")
	}
	if list, err := c.ListDigests(t.Context()); err != nil || !slices.Contains(list, digest(t)) {
		t.Errorf("the digests are %v, %v", list, err)
	}
	copy(size, kept["size"])
	if err := c.images.SetOmap(header, map[string][]byte{"size": size}); err != nil {
		t.Fatal(err)
	}
	if err := c.remove(c.images, rbdName); err != nil {
		t.Fatal(err)
	}
}

func TestIncompleteImagesAreListed(t *testing.T) {
	t.Parallel()
	c := connect(t)
	file := squashfs(t)
	interrupt := func(at string) {
		t.Helper()
		c.after = func(step string) error {
			if step == at {
				return errInterrupted
			}
			return nil
		}
		if _, err := store(t, c, file); !errors.Is(err, errInterrupted) {
			t.Fatal(err)
		}
	}
	interrupt("made")
	if staging, err := c.ListStaging(t.Context()); err != nil || !slices.Contains(staging, name(t, "staging")) {
		t.Errorf("interrupted when created: staging is %v, %v", staging, err)
	}
	interrupt("renamed")
	list, err := c.ListDigests(t.Context())
	if err != nil || !slices.Contains(list, digest(t)) {
		t.Errorf("interrupted when renamed: listed %v, %v", list, err)
	}
	rbdName, err := imageName(digest(t))
	if err != nil {
		t.Fatal(err)
	}
	if i, err := c.inspectImage(rbdName); err != nil || i.Complete {
		t.Errorf("interrupted when renamed: the image is %+v, %v", i, err)
	}
}

func TestAnImageWithClonesIsNotRemoved(t *testing.T) {
	t.Parallel()
	c := connect(t)
	if _, err := store(t, c, squashfs(t)); err != nil {
		t.Fatal(err)
	}
	clone := name(t, "clone")
	interruptEverywhere(t, c, func() error {
		_, err := c.CloneForTenant(t.Context(), digest(t), clone)
		return err
	}, func() error { return c.RemoveDisk(t.Context(), Disk{Name: clone}) })

	if _, err := c.CloneForTenant(t.Context(), digest(t), clone); err != nil {
		t.Fatal(err)
	}
	var busy *BusyError
	if err := c.RemoveImage(t.Context(), digest(t)); !errors.As(err, &busy) || !slices.Contains(busy.By, clone) {
		t.Errorf("remove with a clone: %v", err)
	}
	var conflict *ConflictError
	other := "sha256:" + strings.Repeat("0", 64)
	if _, err := c.CloneForTenant(t.Context(), other, clone); !errors.As(err, &conflict) {
		t.Errorf("clone of another image under a name in use: %v", err)
	}
}

// Another server has removed the RBD image that this one has made. Taking it leaves nothing behind.
func TestARemovedImageCannotBeTaken(t *testing.T) {
	t.Parallel()
	c := connect(t)
	vol := name(t, "vol")
	if err := create(c.volumes, vol, 16<<20, volumeFeatures); err != nil {
		t.Fatal(err)
	}
	img, err := rbd.OpenImageReadOnly(c.volumes, vol, "")
	if err != nil {
		t.Fatal(err)
	}
	id, err := img.GetId()
	if err := errors.Join(err, img.Close(), c.remove(c.volumes, vol)); err != nil {
		t.Fatal(err)
	}
	if err := take(c.volumes, id); err == nil {
		t.Error("an RBD image that does not exist can be taken")
	}
	if _, err := c.volumes.Stat(headerObject(id)); !notFound(err) {
		t.Errorf("an object of the RBD image is left: %v", err)
	}
}

// A server hangs after it has made the RBD image of a volume, and continues when another has made it again and fills it.
func TestTwoServersDoNotFillOneVolume(t *testing.T) {
	t.Parallel()
	hung, other := connect(t), connect(t)
	ctx := t.Context()
	create := func(c *Cluster) error {
		_, err := c.CreateVolume(ctx, name(t, "vol"), 16<<20, "ext4")
		return err
	}
	begun := false
	hung.after = func(step string) error {
		if step != "made" || begun {
			return nil
		}
		begun = true
		other.after = func(step string) error {
			if step == "filled" {
				return errInterrupted
			}
			return nil
		}
		if err := create(other); !errors.Is(err, errInterrupted) {
			t.Errorf("the other server does not begin again: %v", err)
		}
		return nil
	}
	if err := create(hung); err == nil || !begun {
		t.Error("the server that hung has completed the volume that the other one fills")
	}
	hung.after, other.after = func(string) error { return nil }, func(string) error { return nil }
	if _, err := other.Disk(ctx, name(t, "vol")); !errors.Is(err, ErrNotFound) {
		t.Errorf("the volume that the other server has not completed counts as complete: %v", err)
	}
	disk, err := other.CreateVolume(ctx, name(t, "vol"), 16<<20, "ext4")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.RemoveDisk(ctx, disk); err != nil {
		t.Error(err)
	}
}

func TestCreatingAVolumeCanBeInterruptedAnywhere(t *testing.T) {
	t.Parallel()
	c := connect(t)
	interruptEverywhere(t, c, func() error {
		_, err := c.CreateVolume(t.Context(), name(t, "vol"), 64<<20, "ext4")
		return err
	}, func() error { return c.RemoveDisk(t.Context(), Disk{Name: name(t, "vol")}) })
}

func TestAVolumeIsSparseAndItsExt4IsClean(t *testing.T) {
	t.Parallel()
	c := connect(t)
	vol := name(t, "vol")
	began := time.Now()
	disk, err := c.CreateVolume(t.Context(), vol, 10<<30, "ext4")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("created in %s", time.Since(began))
	if disk.SizeBytes != 10<<30 || disk.ID == "" || disk.Pool != dev.VolumesPool {
		t.Errorf("disk: %+v", disk)
	}
	file := export(t, dev.VolumesPool, vol)
	run(t, "/sbin/e2fsck", "-fn", file)
	used := run(t, "rbd", "-c", devtest.Ceph(t).CephConf(), "du", "--format", "json", dev.VolumesPool+"/"+vol)
	t.Log(used)
	var conflict *ConflictError
	if _, err := c.CreateVolume(t.Context(), vol, 1<<30, "ext4"); !errors.As(err, &conflict) {
		t.Errorf("the same name with another size: %v", err)
	}
	disks, err := c.ListDisks(t.Context())
	if err != nil || !slices.Contains(disks, vol) {
		t.Errorf("not listed: %v, %v", disks, err)
	}
}

func TestADiskInUseIsNotRemoved(t *testing.T) {
	t.Parallel()
	c := connect(t)
	vol := name(t, "vol")
	if _, err := c.CreateVolume(t.Context(), vol, 64<<20, "ext4"); err != nil {
		t.Fatal(err)
	}
	img, err := rbd.OpenImage(c.volumes, vol, "")
	if err != nil {
		t.Fatal(err)
	}
	watchers, err := c.Watchers(t.Context(), vol)
	if err != nil || len(watchers) != 1 {
		t.Errorf("watchers: %v, %v", watchers, err)
	}
	var busy *BusyError
	if err := c.RemoveDisk(t.Context(), Disk{Name: vol}); !errors.As(err, &busy) || len(watchers) != 1 || !slices.Equal(busy.By, []string{watchers[0].Address}) {
		t.Errorf("remove a disk in use by %v: %v", watchers, err)
	}
	if err := img.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.RemoveDisk(t.Context(), Disk{Name: vol}); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if watchers, err := c.Watchers(t.Context(), vol); err != nil || len(watchers) != 0 {
		t.Errorf("watchers of a disk that does not exist: %v, %v", watchers, err)
	}
}

func TestNamesThatWouldEscapeACapAreRefused(t *testing.T) {
	t.Parallel()
	c := connect(t)
	for _, bad := range []string{"", "a/b", "a b", `a"`, "a,allow *", "../x", "A", strings.Repeat("a", 97)} {
		if _, err := c.CreateVolume(t.Context(), bad, 1<<20, "ext4"); err == nil {
			t.Errorf("volume %q was created", bad)
		}
		if _, _, err := c.CreateKey(t.Context(), bad, nil); err == nil {
			t.Errorf("key for pod %q was created", bad)
		}
		if _, err := c.StoreImage(t.Context(), bad, name(t, "staging"), squashfs(t)); err == nil {
			t.Errorf("image %q was stored", bad)
		}
	}
}

// qemuIO runs commands on a disk with a pod's key, as QEMU does.
func qemuIO(t *testing.T, key Key, pool, disk string, readOnly bool, commands ...string) (string, error) {
	t.Helper()
	args := []string{"-f", "raw"}
	if readOnly {
		args = append(args, "-r")
	}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	target := fmt.Sprintf("rbd:%s/%s:id=%s:key=%s:conf=%s", pool, disk, key.User, key.Secret, devtest.Ceph(t).CephConf())
	out, err := exec.CommandContext(t.Context(), "qemu-io", append(args, target)...).CombinedOutput()
	return string(out), err
}

func TestAPodKeyAuthorizesOnlyItsOwnDisks(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx := t.Context()
	if _, err := store(t, c, squashfs(t)); err != nil {
		t.Fatal(err)
	}
	foreign := "sha256:" + strings.Repeat("f", 60) + "0bad" // of another tenant
	if _, err := c.StoreImage(ctx, foreign, name(t, "staging"), squashfs(t)); err != nil {
		t.Fatal(err)
	}
	foreignID := importWithData(t, c, foreign)
	image, err1 := c.CloneForTenant(ctx, digest(t), name(t, "clone"))
	mine, err2 := c.CreateVolume(ctx, name(t, "mine"), 64<<20, "ext4")
	other, err3 := c.CreateVolume(ctx, name(t, "other"), 64<<20, "ext4")
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	key, _, err := c.CreateKey(ctx, name(t, "pod"), []Access{{Disk: image}, {Disk: mine, Write: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("key created in %s", time.Since(began))

	if out, err := qemuIO(t, key, mine.Pool, mine.Name, false, "write -P 7 1M 4k", "read -P 7 1M 4k"); err != nil || strings.Contains(out, "failed") {
		t.Errorf("own volume: %v\n%s", err, out)
	}
	if out, err := qemuIO(t, key, image.Pool, image.Name, true, "read 0 1M"); err != nil || strings.Contains(out, "failed") {
		t.Errorf("own image: %v\n%s", err, out)
	}
	if out, _ := qemuIO(t, key, image.Pool, image.Name, false, "write -P 7 1M 4k"); !strings.Contains(out, "Operation not permitted") {
		t.Errorf("wrote to the tenant's image:\n%s", out)
	}
	if out, _ := qemuIO(t, key, other.Pool, other.Name, true, "read 0 4k"); !strings.Contains(out, "Operation not permitted") {
		t.Errorf("opened another pod's volume:\n%s", out)
	}
	for _, args := range [][]string{
		{"rbd", "ls", dev.VolumesPool},
		{"rbd", "ls", dev.ImagesPool},
		{"rados", "-p", dev.ImagesPool, "ls"},
		{"rados", "-p", dev.ImagesPool, "get", "rbd_data." + foreignID + ".0000000000000000", "-"},
		{"rados", "-p", dev.ImagesPool, "get", "rbd_header." + foreignID, "-"},
		{"rados", "-p", dev.VolumesPool, "put", "rbd_data." + other.ID + ".0000000000000000", "/etc/hostname"},
		{"rados", "-p", dev.VolumesPool, "get", "husk-pod-keys", "-"},
		{"ceph", "osd", "blocklist", "add", "192.0.2.1:0/0"},
		{"ceph", "auth", "ls"},
	} {
		if out, err := asUser(t, key, args...); err == nil {
			t.Errorf("%v is allowed: %s", args, out)
		}
	}
}

// importWithData returns RBD's ID of an import. It checks that the import has data: without
// data, the reads that must be denied would fail anyway, and the test would prove nothing.
func importWithData(t *testing.T, c *Cluster, digest string) string {
	t.Helper()
	image, err := imageName(digest)
	if err != nil {
		t.Fatal(err)
	}
	img, err := rbd.OpenImageReadOnly(c.images, image, "")
	if err != nil {
		t.Fatal(err)
	}
	id, err := img.GetId()
	if err := errors.Join(err, img.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.images.Stat("rbd_data." + id + ".0000000000000000"); err != nil {
		t.Fatalf("the import of %s has no data: %v", digest, err)
	}
	return id
}

// asUser runs one of Ceph's tools with a key.
func asUser(t *testing.T, key Key, args ...string) (string, error) {
	t.Helper()
	keyring := filepath.Join(t.TempDir(), "keyring")
	if err := os.WriteFile(keyring, fmt.Appendf(nil, "[client.%s]\nkey = %s\n", key.User, key.Secret), 0o600); err != nil {
		t.Fatal(err)
	}
	args = append(args, "-c", devtest.Ceph(t).CephConf(), "-n", "client."+key.User, "--keyring", keyring)
	out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput()
	return string(out), err
}

func TestAPodKeyIsTheSameUntilRemoved(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx, pod := t.Context(), name(t, "pod")
	disk, err := c.CreateVolume(ctx, name(t, "a"), 64<<20, "ext4")
	if err != nil {
		t.Fatal(err)
	}
	var keys []Key
	for _, write := range []bool{false, false, true} {
		key, _, err := c.CreateKey(ctx, pod, []Access{{Disk: disk, Write: write}})
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	if keys[0] != keys[1] || keys[1] != keys[2] {
		t.Errorf("keys differ: %v", keys)
	}
	if list, err := c.ListKeys(ctx); err != nil || !slices.Contains(list, pod) {
		t.Errorf("not listed: %v, %v", list, err)
	}
	interruptEverywhere(t, c, func() error {
		if _, _, err := c.CreateKey(ctx, pod, nil); err != nil {
			return err
		}
		return c.RemoveKey(ctx, pod)
	}, func() error { return c.RemoveKey(ctx, pod) })
	if list, err := c.ListKeys(ctx); err != nil || slices.Contains(list, pod) {
		t.Errorf("still listed: %v, %v", list, err)
	}
	if out, err := asUser(t, keys[0], "ceph", "fsid"); err == nil {
		t.Errorf("a removed key still connects: %s", out)
	}
}

func TestTheServerCannotExtendItsOwnPermissions(t *testing.T) {
	t.Parallel()
	c := connect(t)
	for _, command := range []map[string]any{
		{"prefix": "auth ls"},
		{"prefix": "auth get", "entity": "client.admin"},
		{"prefix": "auth get-or-create", "entity": "client.husk-pod.root", "caps": []string{"mon", "allow *"}},
		{"prefix": "auth caps", "entity": "client.husk-server", "caps": []string{"mon", "allow *"}},
		{"prefix": "osd pool delete", "pool": dev.VolumesPool},
	} {
		if out, err := c.monCommand(command); err == nil {
			t.Errorf("%v is allowed: %s", command, out)
		}
	}
}

func TestAFencedClientCannotWrite(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx := t.Context()
	disk, err := c.CreateVolume(ctx, name(t, "vol"), 64<<20, "ext4")
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // several times, because a late write would be possible only for a short time
		fenceOnce(t, c, disk)
	}
}

func fenceOnce(t *testing.T, c *Cluster, disk Disk) {
	ctx := t.Context()
	victim := connect(t)
	img, err := rbd.OpenImage(victim.volumes, disk.Name, "")
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	if _, err := img.WriteAt([]byte("before"), 0); err != nil {
		t.Fatal(err)
	}
	watchers, err := c.Watchers(ctx, disk.Name)
	if err != nil || len(watchers) != 1 {
		t.Fatalf("watchers: %v, %v", watchers, err)
	}
	addr := []string{watchers[0].Address}
	began := time.Now()
	if err := c.Fence(ctx, addr, time.Hour); err != nil {
		t.Fatal(err)
	}
	t.Logf("fenced in %s", time.Since(began))
	if _, err := img.WriteAt([]byte("after"), 0); err == nil {
		t.Error("a fenced client could write")
	}
	if list, err := c.Fenced(ctx); err != nil || !slices.Contains(list, addr[0]) {
		t.Errorf("blocklist: %v, %v", list, err)
	}
	for range 2 {
		if err := c.Unfence(ctx, addr); err != nil {
			t.Errorf("unfence: %v", err)
		}
	}
	if list, err := c.Fenced(ctx); err != nil || slices.Contains(list, addr[0]) {
		t.Errorf("blocklist: %v, %v", list, err)
	}
}

func TestAnAmbiguousIDIsRecognised(t *testing.T) {
	t.Parallel()
	c := connect(t)
	vol, err := c.CreateVolume(t.Context(), name(t, "vol"), 64<<20, "ext4")
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{
		vol.ID: true, vol.ID[:len(vol.ID)-1]: false, vol.ID + "0": false, "zz": true,
	} {
		if got, err := prefixFree(c.volumes, id); err != nil || got != want {
			t.Errorf("prefixFree(%s) with %s: %t, %v", id, vol.ID, got, err)
		}
	}
	// A key's rights to write apply to both pools.
	for id, want := range map[string]bool{vol.ID: false, vol.ID[:len(vol.ID)-1]: false, vol.ID + "0": false, "zz": true} {
		if got, err := c.prefixFree(c.images, id); err != nil || got != want {
			t.Errorf("an image with the ID %s next to a volume with %s: %t, %v", id, vol.ID, got, err)
		}
	}
}

// The key of the next placement takes over a disk whose last client was killed, or hangs, once that is fenced. It may not blocklist anybody itself.
func TestAFencedDiskIsTakenOver(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx := t.Context()
	disk, err := c.CreateVolume(ctx, name(t, "vol"), 64<<20, "ext4")
	if err != nil {
		t.Fatal(err)
	}
	for placement, stop := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		old, err := newKey(t, c, disk, 2*placement+1)
		if err != nil {
			t.Fatal(err)
		}
		target := fmt.Sprintf("rbd:%s/%s:id=%s:key=%s:conf=%s", disk.Pool, disk.Name, old.User, old.Secret, devtest.Ceph(t).CephConf())
		victim := exec.CommandContext(ctx, "qemu-io", "-f", "raw", target)
		in, err := victim.StdinPipe()
		said, err1 := victim.StdoutPipe()
		if err := errors.Join(err, err1); err != nil {
			t.Fatal(err)
		}
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(in, "write -P 1 0 4k\n"); err != nil {
			t.Fatal(err)
		}
		var watchers []Watcher
		for len(watchers) == 0 {
			if watchers, err = c.Watchers(ctx, disk.Name); err != nil {
				t.Fatal(err)
			}
		}
		for lines := bufio.NewScanner(said); !strings.Contains(lines.Text(), "wrote 4096"); {
			if !lines.Scan() {
				t.Fatalf("the first client has not written: %v", lines.Err())
			}
		}
		if err := victim.Process.Signal(stop); err != nil {
			t.Fatal(err)
		}
		if err := c.Fence(ctx, []string{watchers[0].Address}, time.Minute); err != nil {
			t.Fatal(err)
		}
		if left, err := c.Watchers(ctx, disk.Name); err != nil || len(left) > 0 {
			t.Logf("after %s and the fence, the disk's watchers are %v, %v", stop, left, err)
		}
		next, err := newKey(t, c, disk, 2*placement+2)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		out, err := qemuIO(t, next, disk.Pool, disk.Name, false, "read -P 1 0 4k", "write -P 2 0 4k")
		if err != nil || strings.Contains(out, "failed") {
			t.Errorf("%s: the next client: %v\n%s", stop, err, out)
		}
		t.Logf("%s: taken over in %s", stop, time.Since(began))
		if err := errors.Join(victim.Process.Kill(), c.Unfence(ctx, []string{watchers[0].Address})); err != nil {
			t.Error(err)
		}
		_ = victim.Wait()
	}
}

func newKey(t *testing.T, c *Cluster, disk Disk, placement int) (Key, error) {
	key, _, err := c.CreateKey(t.Context(), fmt.Sprintf("%s.%d", name(t, "pod"), placement), []Access{{Disk: disk, Write: true}})
	return key, err
}
