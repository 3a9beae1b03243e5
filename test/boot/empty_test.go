// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"strings"
	"testing"
	"time"

	"husk/guest"
)

// fillScript writes as much as it can to three directories, and prints how much fits. The user is
// not root, and is in the group of the pod.
const fillScript = `
[ -e /shared/run ] && { [ -e /own ] || echo "restart sees $(cat /shared/run) of $(cat /sub/x)"; exit 0; }
for dir in /small /memory; do
  dd if=/dev/zero of=$dir/x bs=1M count=100 2>$dir.err
  echo "$dir $(($(stat -c %s $dir/x) / 1048576)) $(stat -c %a:%g $dir) $(grep -c 'No space left' $dir.err)"
  rm $dir/x
done 2>&1
echo part > /sub/x; echo x > /own
cp /bin/busybox /shared/busybox && /shared/busybox echo "files are executable"
ls /filled | grep -c . | sed 's/^/files from the image: /'
mknod /small/device c 1 5 && echo "device made"; dd if=/small/device of=/dev/null count=1 2>/dev/null && echo "a device opens"
echo first > /shared/run
until [ -e /shared/seen ]; do sleep 0.1; done
exit 1
`

// TestEmptyDirectories boots a pod whose containers share directories that are empty at first.
func TestEmptyDirectories(t *testing.T) {
	t.Parallel()
	image := makeImage(
		t, entry{name: "filled/", mode: 0o755}, entry{name: "filled/x", content: "x", mode: 0o644}, entry{name: "bin/stat", link: "busybox"},
		entry{name: "bin/dd", link: "busybox"}, entry{name: "bin/mknod", link: "busybox"}, entry{name: "bin/sed", link: "busybox"}, entry{name: "bin/cp", link: "busybox"},
		entry{name: "bin/rm", link: "busybox"},
	)
	v := bootVM(t, "192", []disk{{image, "image-1", true}})
	c := v.dial(t)
	group := uint32(4711)
	mounts := []guest.Mount{
		{Volume: "shared", Path: "/shared"},
		{Volume: "small", Path: "/small"},
		{Volume: "memory", Path: "/memory"},
		{Volume: "plain", Path: "/filled"},
		{Volume: "shared", Path: "/sub", SubPath: "made"},
	}
	spec := guest.Spec{
		PodID: "pod", Hostname: "pod", RestartPolicy: guest.RestartOnFailure, RestartBackoff: guest.Backoff{BaseMillis: 1}, FSGroup: &group,
		Volumes: []guest.Volume{
			{Name: "shared", FSType: guest.EmptyType},
			{Name: "plain", FSType: guest.EmptyType},
			{Name: "small", FSType: guest.EmptyType, SizeMiB: 5},
			{Name: "memory", FSType: guest.EmptyType, Memory: true, SizeMiB: 7},
		},
		Containers: []guest.Container{
			{Name: "writer", ImageSerial: "image-1", Args: []string{"sh", "-c", fillScript}, Mounts: mounts, Options: guest.Options{CapabilitiesAdd: []string{"MKNOD"}}},
			{
				Name: "reader", ImageSerial: "image-1", User: "1000", Mounts: []guest.Mount{{Volume: "shared", Path: "/there"}},
				Args: []string{"sh", "-c", "until [ -e /there/run ]; do sleep 0.1; done; echo seen > /there/seen && echo other container wrote"},
			},
		},
	}
	if _, err := c.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	defer func() { logOnFailure(t, c, "writer") }()
	ended := waitStatus(t, c, "the pod has ended", func(s guest.Status) bool { return s.Phase == guest.PhaseSucceeded || s.Phase == guest.PhaseFailed })
	if ended.Phase != guest.PhaseSucceeded {
		t.Fatalf("the pod has failed: %+v", ended)
	}
	got := logsOf(t, c, "writer")[guest.Stdout]
	for _, want := range []string{
		"/small 5 2777:4711 1\n", "/memory 7 2777:4711 1\n", "files are executable", "files from the image: 0\n", "restart sees first of part", "device made",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the output:\n%s", want, got)
		}
	}
	if strings.Contains(got, "a device opens") {
		t.Error("a device in an empty directory can be opened")
	}
	if got := logsOf(t, c, "reader")[guest.Stdout]; !strings.Contains(got, "other container wrote") {
		t.Errorf("the user of the other container could not write: %q", got)
	}
	if err := c.Stop(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	v.waitOff(t)
}
