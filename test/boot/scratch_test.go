// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"husk/guest"
)

// scratchScript writes more than the pod has memory, and then more than its disk has.
const scratchScript = `
[ -e /shared/run ] && { [ -e /large ] || echo "the next run has a new root, and $(cat /shared/run)"; exit 0; }
dd if=/dev/zero of=/large bs=1M count=300 2>/dev/null && echo "wrote $(($(stat -c %s /large) / 1048576)) MiB"
dd if=/dev/zero of=/small/x bs=1M count=100 2>/small.err || echo "limited at $(($(stat -c %s /small/x) / 1048576)) MiB: $(cat /small.err | grep -o 'Disk quota exceeded')"
dd if=/dev/zero of=/shared/fill bs=1M count=2000 2>/memory/fill.err || echo "full: $(grep -o 'No space left on device' /memory/fill.err)"
rm /shared/fill
echo "memory stays: $(dd if=/dev/zero of=/memory/x bs=1M count=20 2>&1 | grep -o 'No space left on device')"
ln /bin/busybox /hard && mv /etc/passwd /etc/passwd.old && rm /etc/group && echo "the root is writable"
mknod /device b 254 1; dd if=/device of=/dev/null count=1 2>/dev/null && echo "a device opens"
echo "first" > /shared/run
exit 1
`

// TestAScratchDisk boots a pod whose containers write to a disk.
func TestAScratchDisk(t *testing.T) {
	t.Parallel()
	var applets []entry
	for _, name := range []string{"stat", "dd", "mv", "rm", "ln", "mknod"} {
		applets = append(applets, entry{name: "bin/" + name, link: "busybox"})
	}
	file := filepath.Join(t.TempDir(), "scratch")
	command(t, "truncate", "-s", "1G", file)
	command(t, "mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal,^resize_inode,^metadata_csum,uninit_bg,quota,project", "-E", "discard,quotatype=prjquota", file)
	v := bootVM(t, "176", []disk{{makeImage(t, applets...), "image-1", true}},
		"-drive", "if=none,format=raw,id=scratch,cache=none,discard=unmap,file="+file, "-device", "virtio-blk-pci,drive=scratch,serial=scratch")
	c := v.dial(t)
	spec := guest.Spec{
		PodID: "pod", Hostname: "pod", RestartPolicy: guest.RestartOnFailure, RestartBackoff: guest.Backoff{BaseMillis: 1}, ScratchSerial: "scratch",
		Volumes: []guest.Volume{
			{Name: "shared", FSType: guest.EmptyType},
			{Name: "small", FSType: guest.EmptyType, SizeMiB: 8},
			{Name: "memory", FSType: guest.EmptyType, Memory: true, SizeMiB: 7},
		},
		Containers: []guest.Container{{
			Name: "main", ImageSerial: "image-1", Args: []string{"sh", "-c", scratchScript}, Options: guest.Options{CapabilitiesAdd: []string{"MKNOD"}},
			Mounts: []guest.Mount{{Volume: "shared", Path: "/shared"}, {Volume: "small", Path: "/small"}, {Volume: "memory", Path: "/memory"}},
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
	for _, want := range []string{
		// The quota counts what the file system needs for a file, too.
		"wrote 300 MiB", "limited at 7 MiB: Disk quota exceeded", "full: No space left on device", "memory stays: No space left on device",
		"the root is writable", "the next run has a new root, and first",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the output:\n%s", want, got)
		}
	}
	if strings.Contains(got, "a device opens") {
		t.Error("a device on the scratch disk can be opened")
	}
	if err := c.Stop(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	v.waitOff(t)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	// What was deleted is given back: 300 MiB with the first run's root, and the rest of the disk.
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512 >> 20; used > 100 {
		t.Errorf("the disk still takes %d MiB of its node", used)
	}
}
