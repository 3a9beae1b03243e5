// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"husk/guest"
)

const kindsScript = `
grep ' /x' /proc/mounts
echo kept > /x/file
ls -ln /dev/disk /elsewhere/raw
printf raw-content > /dev/disk && echo "wrote to the device"
printf more | dd of=/elsewhere/raw bs=512 seek=1 conv=notrunc,fsync 2>/dev/null && echo "wrote to the other path"
echo ready
while [ $(stat -f -c "%b*%S/1048576" /x | xargs expr) -lt 400 ]; do sleep 0.1; done
echo grown
`

// TestVolumesWithXFSAndWithoutFileSystem boots a pod with an xfs volume, which grows, and a block device, to which an ordinary user writes.
func TestVolumesWithXFSAndWithoutFileSystem(t *testing.T) {
	t.Parallel()
	image := makeImage(t, entry{name: "bin/xargs", link: "busybox"}, entry{name: "bin/expr", link: "busybox"}, entry{name: "bin/dd", link: "busybox"}, entry{name: "bin/printf", link: "busybox"})
	xfs, raw := filepath.Join(t.TempDir(), "xfs.raw"), filepath.Join(t.TempDir(), "raw")
	for file, size := range map[string]int64{xfs: 300 << 20, raw: 1 << 20} {
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	command(t, "mkfs.xfs", "-q", "-f", xfs)
	if err := os.Truncate(xfs, 500<<20); err != nil { // the file system grows when it is mounted
		t.Fatal(err)
	}
	v := bootVM(t, "192", []disk{{image, "image-1", true}, {xfs, "xfs", false}, {raw, "raw", false}})
	c := v.dial(t)
	group := uint32(4711)
	spec := guest.Spec{
		PodID: "pod", Hostname: "pod", RestartPolicy: guest.RestartNever, FSGroup: &group,
		Volumes: []guest.Volume{{Name: "x", Serial: "xfs", FSType: guest.XFSType}, {Name: "raw", Serial: "raw", FSType: guest.BlockType}},
		Containers: []guest.Container{{
			Name: "main", ImageSerial: "image-1", Args: []string{"sh", "-c", kindsScript}, User: "1000",
			Mounts: []guest.Mount{{Volume: "x", Path: "/x"}},
			Options: guest.Options{
				Groups:        []string{"4711"},
				VolumeDevices: []guest.VolumeDevice{{Volume: "raw", DevicePath: "/dev/disk"}, {Volume: "raw", DevicePath: "/elsewhere/raw"}},
			},
		}},
	}
	if _, err := c.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	defer func() { logOnFailure(t, c, "main") }()
	ended := waitStatus(t, c, "the pod has ended", func(s guest.Status) bool { return s.Phase == guest.PhaseSucceeded || s.Phase == guest.PhaseFailed })
	if ended.Phase != guest.PhaseSucceeded {
		t.Fatalf("the pod has failed: %+v", ended)
	}
	got := logsOf(t, c, "main")[guest.Stdout]
	for _, want := range []string{" xfs rw,", "brw-rw----    1 0        4711", "wrote to the device", "wrote to the other path", "grown"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the output:\n%s", want, got)
		}
	}
	if err := c.Stop(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	v.waitOff(t)
	b, err := os.ReadFile(raw)
	if err != nil || !strings.HasPrefix(string(b), "raw-content\x00") || string(b[512:516]) != "more" {
		t.Errorf("the block device has %q: %v", b[:600], err)
	}
	if out := command(t, "xfs_db", "-r", "-c", "sb 0", "-c", "p dblocks", xfs); !strings.Contains(out, "dblocks = 128000") {
		t.Errorf("the file system has %s", out)
	}
}

// TestAFrozenVolumeThawsByItself freezes the volumes of a pod that writes, with an agent that goes away meanwhile.
func TestAFrozenVolumeThawsByItself(t *testing.T) {
	t.Parallel()
	image, volume, raw := makeImage(t), makeVolume(t), makeVolume(t)
	v := bootVM(t, "192", []disk{{image, "image-1", true}, {volume, "volume-1", false}, {raw, "raw", false}})
	c := v.dial(t)
	spec := guest.Spec{
		PodID: "pod", Hostname: "pod", RestartPolicy: guest.RestartNever,
		Volumes: []guest.Volume{{Name: "data", Serial: "volume-1", FSType: guest.Ext4Type}, {Name: "raw", Serial: "raw", FSType: guest.BlockType}},
		Containers: []guest.Container{{
			Name: "main", ImageSerial: "image-1", Args: []string{"sh", "-c", `n=0; while :; do n=$((n+1)); echo $n > /data/n; echo "wrote $n"; sleep 0.1; done`},
			Mounts: []guest.Mount{{Volume: "data", Path: "/data"}},
		}},
	}
	if _, err := c.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	defer func() { logOnFailure(t, c, "main") }()
	waitStatus(t, c, "the pod runs", func(s guest.Status) bool { return s.Phase == guest.PhaseRunning })
	lines := func() int { return strings.Count(logsOf(t, c, "main")[guest.Stdout], "wrote") }
	for what, err := range map[string]error{
		"a thaw before": c.Thaw(t.Context(), "volume-1"), "a freeze of a block device": c.Freeze(t.Context(), "raw"), "an unknown volume": c.Freeze(t.Context(), "none"),
	} {
		if _, refused := errors.AsType[*guest.CallError](err); !refused {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := c.Freeze(t.Context(), "volume-1"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	frozen := lines()
	if err := c.Freeze(t.Context(), "volume-1"); err == nil {
		t.Error("frozen twice")
	}
	if now := lines(); now > frozen+1 { // one line may be on its way
		t.Errorf("the pod wrote %d lines while the volume was frozen", now-frozen)
	}
	if err := c.Thaw(t.Context(), "volume-1"); err != nil {
		t.Error(err)
	}
	if err := c.Freeze(t.Context(), "volume-1"); err != nil { // as if the agent ended now
		t.Fatal(err)
	}
	frozen = lines()
	for lines() < frozen+5 {
		if time.Since(began) > time.Minute {
			t.Fatal("the volume does not thaw by itself")
		}
		time.Sleep(100 * time.Millisecond)
	}
	if took := time.Since(began); took < guest.FreezeLimit {
		t.Errorf("the volume thawed after %s", took)
	}
	if err := c.Thaw(t.Context(), "volume-1"); err == nil {
		t.Error("a thaw succeeds after the volume has thawed by itself")
	}
}
