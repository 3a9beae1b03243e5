// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"os"
	"path/filepath"
	"testing"

	"husk/openapi"
	"husk/test/stack"
)

// A pod writes more than it has memory, to a disk that its node makes for it and removes with it.
func TestWhatContainersWriteIsOnADiskOfTheNode(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	disk := tn.Create(t, "disk", func(s *openapi.PodSpec) {
		s.Resources.MemoryMiB, s.EphemeralStorageGiB = 96, new(2)
		s.Volumes = &[]openapi.PodVolume{{Name: "small", EmptyDir: &openapi.EmptyDir{SizeMiB: new(8)}}}
		c := stack.Shell(busybox, `
dd if=/dev/zero of=/large bs=1M count=200 2>/dev/null && echo "wrote $(stat -c %s /large)"
dd if=/dev/zero of=/small/x bs=1M count=20 2>/dev/null || echo "the small directory is limited"
echo "the disk has $(df -m / | tail -n 1 | awk '{print ($2 > 1900 && $2 < 2049) ? "the right size" : $2}')"
exec sleep 1000000`)
		c.VolumeMounts = &[]openapi.VolumeMount{{Volume: "small", MountPath: "/small"}}
		s.Containers = []openapi.Container{c}
	})
	memory := tn.Create(t, "memory", func(s *openapi.PodSpec) {
		s.EphemeralStorage = new(openapi.Memory)
		s.Containers = []openapi.Container{stack.Shell(busybox, `dd if=/dev/zero of=/large bs=1M count=300 2>/dev/null || echo "memory is full"; exec sleep 1000000`)}
	})
	for _, want := range []string{"wrote 209715200", "the small directory is limited", "the disk has the right size"} {
		tn.WaitForLog(t, disk.ID, disk.Spec.Containers[0].Name, want)
	}
	tn.WaitForLog(t, memory.ID, memory.Spec.Containers[0].Name, "memory is full")
	file := filepath.Join(tn.Dir, "s", "agent", "scratch", disk.ID.String()+".ext4")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() != 2<<30 || info.Mode().Perm() != 0o600 {
		t.Errorf("the disk has %d bytes and the mode %s", info.Size(), info.Mode())
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(file), memory.ID.String()+".ext4")); err == nil {
		t.Error("a pod that writes to memory has a disk")
	}
	tn.DeletePod(t, disk.ID)
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the disk of a deleted pod is still there: %v", err)
	}
}
