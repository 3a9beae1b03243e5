// SPDX-License-Identifier: Apache-2.0

package volumes

import (
	"testing"

	"husk"
	"husk/client"
	"husk/openapi"
	"husk/test/stack"
)

func volumeOf(t *testing.T, tn *stack.Tenant, name string, fsType openapi.FSType) openapi.PodVolume {
	t.Helper()
	v, err := tn.API.Volumes.Create(t.Context(), openapi.VolumeCreate{Name: name, SizeGiB: 1, FsType: &fsType})
	if err != nil || v.FsType != fsType {
		t.Fatalf("the volume %+v: %v", v, err)
	}
	return openapi.PodVolume{Name: name, VolumeID: &v.ID}
}

// onDevice returns a change for Create: the container has the volume as /dev/xvda.
func onDevice(v openapi.PodVolume, image, script string) func(*openapi.PodSpec) {
	return func(s *openapi.PodSpec) {
		s.Volumes = &[]openapi.PodVolume{v}
		c := stack.Shell(image, script)
		c.VolumeDevices = &[]openapi.VolumeDevice{{Volume: v.Name, DevicePath: "/dev/xvda"}}
		s.Containers = []openapi.Container{c}
	}
}

// A volume with xfs grows while its pod runs, and its pod can use a clone of it at the same time, which has the same UUID.
func TestAVolumeWithXFS(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox, data := tn.ImportImage(t, "busybox"), volumeOf(t, tn, "data", openapi.FSTypeXfs)
	pod := tn.Wait(t, tn.Create(t, "first", with(data, busybox, "grep /data /proc/mounts; echo one > /data/file; sync; "+sizes)).ID, openapi.PodPhaseRunning)
	tn.WaitForLog(t, pod.ID, "main", "xfs rw")
	tn.WaitForLog(t, pod.ID, "main", "size 1\n")
	if _, err := tn.API.Volumes.Grow(t.Context(), *data.VolumeID, 3); err != nil {
		t.Fatal(err)
	}
	tn.WaitForLog(t, pod.ID, "main", "size 5\n")
	s := snapshot(t, tn, "copied", data)
	if s.FsType != openapi.FSTypeXfs {
		t.Errorf("the snapshot is %+v", s)
	}
	tn.DeletePod(t, pod.ID)
	copied := clone(t, tn, "copy", s, false)
	both := with(copied, busybox, "echo the clone has $(cat /data/file) and the original $(cat /other/file); exec sleep 1000000")
	pod = tn.Create(t, "second", func(p *openapi.PodSpec) {
		both(p)
		*p.Volumes = append(*p.Volumes, data)
		*p.Containers[0].VolumeMounts = append(*p.Containers[0].VolumeMounts, openapi.VolumeMount{Volume: data.Name, MountPath: "/other"})
	})
	tn.WaitForLog(t, tn.Wait(t, pod.ID, openapi.PodPhaseRunning).ID, "main", "the clone has one and the original one\n")
}

// A volume without a file system is a block device, keeps what was written to it, and grows.
func TestAVolumeWithoutAFileSystem(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox, data, other := tn.ImportImage(t, "busybox"), volumeOf(t, tn, "raw", openapi.FSTypeNone), tn.Volume(t, "other")
	available(t, tn, other)
	for what, change := range map[string]func(*openapi.PodSpec){
		"a mount of a block device":   with(data, busybox, "true"),
		"a device with a file system": onDevice(other, busybox, "true"),
	} {
		spec := openapi.PodSpec{Resources: openapi.Resources{CPUMillis: 1000, MemoryMiB: 160}}
		change(&spec)
		if _, err := tn.API.Pods.Create(t.Context(), openapi.PodCreate{Name: "mistake", Spec: spec}); !client.HasCode(err, husk.CodeInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	const script = `printf written > /dev/xvda; sync
while :; do
	now=$(blockdev --getsize64 /dev/xvda); [ "$now" = "$old" ] || echo "bytes $now"
	old=$now; sleep 0.1
done`
	pod := tn.Wait(t, tn.Create(t, "writer", onDevice(data, busybox, script)).ID, openapi.PodPhaseRunning)
	tn.WaitForLog(t, pod.ID, "main", "bytes 1073741824\n")
	if _, err := tn.API.Volumes.Grow(t.Context(), *data.VolumeID, 2); err != nil {
		t.Fatal(err)
	}
	tn.WaitForLog(t, pod.ID, "main", "bytes 2147483648\n")
	tn.DeletePod(t, pod.ID)
	s := snapshot(t, tn, "copied", data)
	if _, err := tn.API.Volumes.Restore(t.Context(), *other.VolumeID, s.ID); !client.HasCode(err, husk.CodeInvalid) {
		t.Errorf("the restore of another kind of volume: %v", err)
	}
	copied := clone(t, tn, "copy", s, false)
	pod = tn.Create(t, "reader", onDevice(copied, busybox, "echo the device has $(head -c 7 /dev/xvda); exec sleep 1000000"))
	tn.WaitForLog(t, tn.Wait(t, pod.ID, openapi.PodPhaseRunning).ID, "main", "the device has written\n")
}
