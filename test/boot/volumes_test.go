// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"strings"
	"testing"
	"time"

	"husk/guest"
)

const volumesScript = `
echo "srv $(ls -ldn /srv | cut -c1-30) inner $(ls /srv/inner)"
echo "content $(cat /srv/readme) by $(ls -ln /srv/readme | cut -c1-30)"
echo "top $(ls -a /srv | grep lost)."
echo more > /srv/more && echo "the user can write"
echo "names $(cat /etc/hosts | grep -c pod) $(ls /etc/mine)"
`

// TestVolumesAreWhatTheImageExpects boots a pod with fresh volumes. They get what the image has at their
// paths, and an inner path is mounted after the outer one, whatever their order in the spec is.
func TestVolumesAreWhatTheImageExpects(t *testing.T) {
	t.Parallel()
	image := makeImage(
		t, entry{name: "srv/", mode: 0o750, uid: 1000}, entry{name: "srv/readme", content: "from the image", mode: 0o640, uid: 1000},
		entry{name: "etc/mine", content: "x", mode: 0o644}, entry{name: "bin/cut", link: "busybox"},
	)
	outer, inner, etc := makeVolume(t), makeVolume(t), makeVolume(t)
	v := bootVM(t, "192", []disk{{image, "image-1", true}, {outer, "outer", false}, {inner, "inner", false}, {etc, "etc", false}})
	c := v.dial(t)
	spec := guest.Spec{
		PodID: "pod", Hostname: "pod", RestartPolicy: guest.RestartNever,
		Volumes: []guest.Volume{
			{Name: "outer", Serial: "outer", FSType: "ext4"}, {Name: "inner", Serial: "inner", FSType: "ext4"}, {Name: "etc", Serial: "etc", FSType: "ext4"},
		},
		Containers: []guest.Container{{
			Name: "main", ImageSerial: "image-1", Args: []string{"sh", "-c", volumesScript}, User: "1000",
			Mounts: []guest.Mount{{Volume: "inner", Path: "/srv/inner"}, {Volume: "outer", Path: "/srv"}, {Volume: "etc", Path: "/etc"}},
			Files:  []guest.File{{Path: "/srv/inner/mine", Content: []byte("x")}},
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
		"srv drwxr-x---", "1000", "inner mine", "content from the image by -rw-r-----", "top .", "the user can write", "names 1 /etc/mine",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the output:\n%s", want, got)
		}
	}
	if err := c.Stop(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, c, "the pod has stopped", func(s guest.Status) bool { return s.Stopped })
	v.waitOff(t)
	if got := command(t, "debugfs", "-R", "ls -p /", outer); !strings.Contains(got, "/more/") || !strings.Contains(got, "/readme/") || strings.Contains(got, "lost+found") {
		t.Errorf("the volume has %s", got)
	}
	// The mount point of the pod's file is an empty file.
	if got := command(t, "debugfs", "-R", "ls -p /", inner); !strings.Contains(got, "/mine/0/") {
		t.Errorf("the pod's file was written to the volume: %s", got)
	}
}

const groupScript = `
echo "groups $(id -G)"
echo x > /data/x && echo "the group can write"
ls -ln /data/x
ls -ln -L /conf/password
cat /conf/password
`

// TestVolumesBelongToTheGroupOfThePod boots a pod whose user has no rights but those of the group.
func TestVolumesBelongToTheGroupOfThePod(t *testing.T) {
	t.Parallel()
	image, volume := makeImage(t), makeVolume(t)
	v := bootVM(t, "192", []disk{{image, "image-1", true}, {volume, "volume-1", false}})
	c := v.dial(t)
	group := uint32(4711)
	spec := guest.Spec{
		PodID: "pod", Hostname: "pod", RestartPolicy: guest.RestartNever, FSGroup: &group,
		Volumes: []guest.Volume{
			{Name: "data", Serial: "volume-1", FSType: "ext4"},
			{Name: "conf", FSType: guest.FilesType, Files: []guest.File{{Path: "password", Content: []byte("swordfish\n"), Mode: 0o440, GID: group}}},
		},
		Containers: []guest.Container{{
			Name: "main", ImageSerial: "image-1", Args: []string{"sh", "-c", groupScript}, User: "4000:4000", Options: guest.Options{Groups: []string{"4711"}},
			Mounts: []guest.Mount{{Volume: "data", Path: "/data"}, {Volume: "conf", Path: "/conf", ReadOnly: true}},
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
	for _, want := range []string{"groups 4000 4711", "the group can write", "4000     4711", "-r--r-----", "swordfish"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the output:\n%s", want, got)
		}
	}
	if err := c.Stop(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	v.waitOff(t)
}
