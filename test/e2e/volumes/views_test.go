// SPDX-License-Identifier: Apache-2.0

package volumes

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"husk"
	"husk/client"
	"husk/openapi"
	"husk/test/stack"
)

// reading returns a change for Create: the container has a snapshot at /data.
func reading(s openapi.Snapshot, image, script string) func(*openapi.PodSpec) {
	return with(openapi.PodVolume{Name: "data", SnapshotID: &s.ID}, image, script)
}

// Several pods read a snapshot while the pod of its volume continues to write. The snapshot was taken while the file system was in use, so it has to
// recover from its journal, and the pods cannot write the disk.
func TestManyPodsReadASnapshot(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	for _, fsType := range []openapi.FSType{openapi.FSTypeExt4, openapi.FSTypeXfs} {
		data := volumeOf(t, tn, "data-"+string(fsType), fsType)
		writer := tn.Create(t, "writer-"+string(fsType), with(data, busybox, `for i in $(seq 300); do mkdir /data/$i; echo $i > /data/$i/file; done
sync; echo written; while :; do echo more >> /data/log; sync; done`))
		tn.WaitForLog(t, writer.ID, "main", "written\n")
		s := snapshot(t, tn, "s-"+string(fsType), data)
		const script = `echo "$(cat /data/*/file | wc -l) files"
touch /data/new && echo "wrote a file"
dd if=/dev/zero of=/data/1/file count=1 conv=notrunc && echo "changed a file"
echo checked; exec sleep 1000000`
		var pods []uuid.UUID
		for _, name := range []string{"first-", "second-"} {
			pods = append(pods, tn.Create(t, name+string(fsType), reading(s, busybox, script)).ID)
		}
		for _, pod := range pods {
			tn.Wait(t, pod, openapi.PodPhaseRunning)
			if log := tn.WaitForLog(t, pod, "main", "checked\n"); !strings.Contains(log, "300 files\n") || strings.Contains(log, "wrote") || strings.Contains(log, "changed") {
				t.Errorf("%s: the pod prints %q", fsType, log)
			}
		}
		err := tn.API.Snapshots.Delete(t.Context(), s.ID)
		if !client.HasCode(err, husk.CodeSnapshotInUse) || !strings.Contains(err.Error(), "first-"+string(fsType)) {
			t.Errorf("%s: the deletion of a snapshot that pods use: %v", fsType, err)
		}
		for _, pod := range pods {
			tn.DeletePod(t, pod)
		}
		tn.DeletePod(t, writer.ID)
		if err := tn.API.Snapshots.Delete(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		gone(t, tn, s.ID)
		if err := tn.API.Volumes.Delete(t.Context(), *data.VolumeID); err != nil {
			t.Fatal(err)
		}
	}
}

// gone waits until a snapshot is removed.
func gone(t *testing.T, tn *stack.Tenant, id uuid.UUID) {
	t.Helper()
	_, err := tn.API.Snapshots.Wait(t.Context(), id, func(openapi.Snapshot) (bool, error) { return false, nil })
	if !client.HasCode(err, husk.CodeNotFound) {
		t.Fatal(err)
	}
}

// The snapshot of a volume without a file system is a block device that cannot be written.
func TestASnapshotOfABlockDeviceIsRead(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox, data := tn.ImportImage(t, "busybox"), volumeOf(t, tn, "raw", openapi.FSTypeNone)
	writer := tn.Create(t, "writer", onDevice(data, busybox, "printf written > /dev/xvda; sync; echo done; exec sleep 1000000"))
	tn.WaitForLog(t, writer.ID, "main", "done\n")
	s := snapshot(t, tn, "raw", data)
	mount := openapi.PodSpec{Resources: openapi.Resources{CPUMillis: 1000, MemoryMiB: 160}}
	reading(s, busybox, "true")(&mount)
	if _, err := tn.API.Pods.Create(t.Context(), openapi.PodCreate{Name: "mistake", Spec: mount}); !client.HasCode(err, husk.CodeInvalid) {
		t.Errorf("a mount of a block device: %v", err)
	}
	const script = `echo "the device has $(head -c 7 /dev/xvda)"; printf changed > /dev/xvda && sync && echo "wrote it"; echo checked; exec sleep 1000000`
	pod := tn.Create(t, "reader", onDevice(openapi.PodVolume{Name: "raw", SnapshotID: &s.ID}, busybox, script))
	if log := tn.WaitForLog(t, pod.ID, "main", "checked\n"); !strings.Contains(log, "the device has written\n") || strings.Contains(log, "wrote it") {
		t.Errorf("the pod prints %q", log)
	}
}
