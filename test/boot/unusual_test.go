// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"testing"

	"husk/guest"
)

// What images and authors of pods get wrong or do seldom: the container starts as with runc.
func TestUnusualContainersStart(t *testing.T) {
	t.Parallel()
	image, volume := makeImage(t), makeVolume(t)
	v := bootVM(t, "128", []disk{{image, "image-1", true}, {volume, "volume-1", false}})
	c := v.dial(t)
	container := func(name, script string) guest.Container {
		return guest.Container{
			Name: name, ImageSerial: "image-1", Args: []string{"sh", "-c", script}, Mounts: []guest.Mount{{Volume: "data", Path: "/data"}},
		}
	}
	missing := container("missing", "pwd")
	missing.WorkingDir, missing.User, missing.Mounts = "/not/there", "app", nil
	over := container("over", "cat /data/sub/file && test ! -w /data/sub/file")
	over.Files, over.User = []guest.File{{Path: "/data/sub/file", Content: []byte("over the volume\n"), Mode: 0o444}}, "app"
	below := container("below", "until test -e /data/sub/file; do sleep 0.1; done; cat /data/sub/file; echo the volume has an empty file")
	denied := container("denied", "true")
	denied.Mounts[0].ReadOnly = true
	denied.Files = []guest.File{{Path: "/data/new"}}
	spec := guest.Spec{
		PodID: "pod-9", Hostname: "pod-9", RestartPolicy: guest.RestartNever, Volumes: []guest.Volume{{Name: "data", Serial: "volume-1", FSType: "ext4"}},
		Containers: []guest.Container{missing, over, below},
	}
	if _, err := c.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	s := waitStatus(t, c, "the containers end", func(s guest.Status) bool { return s.Phase == guest.PhaseSucceeded || s.Phase == guest.PhaseFailed })
	for name, want := range map[string]string{"missing": "/not/there\n", "over": "over the volume\n", "below": "the volume has an empty file\n"} {
		if got := logsOf(t, c, name)[guest.Stdout]; got != want {
			t.Errorf("%s printed %q, want %q; %+v", name, got, want, s)
		}
	}
	if err := c.Stop(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	v.waitOff(t)

	// A file in a volume that is read-only has no place there.
	v = bootVM(t, "128", []disk{{image, "image-1", true}, {volume, "volume-1", false}})
	c = v.dial(t)
	spec.Containers = []guest.Container{denied}
	if _, err := c.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	s = waitStatus(t, c, "the pod fails", func(s guest.Status) bool { return s.Phase == guest.PhaseFailed })
	if want := "container denied: file /data/new, which is in a volume: open /data/new: read-only file system"; s.Error != want {
		t.Errorf("the error is %q, want %q", s.Error, want)
	}
	if err := c.Stop(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	v.waitOff(t)
}
