// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"testing"

	"husk/openapi"
	"husk/test/stack"
)

// What one container writes to an empty directory is there for the other one, and for its own next run.
func TestContainersShareAnEmptyDirectory(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	pod := tn.Create(t, "shares", func(s *openapi.PodSpec) {
		s.Volumes = &[]openapi.PodVolume{
			{Name: "shared", EmptyDir: &openapi.EmptyDir{}},
			{Name: "fast", EmptyDir: &openapi.EmptyDir{Memory: new(true), SizeMiB: new(3)}},
		}
		s.ShmSizeMiB = new(5)
		s.RestartPolicy = new(openapi.OnFailure)
		writer := stack.Shell(busybox, `
[ -e /shared/run ] && { echo "the next run sees $(cat /shared/run)"; exit 0; }
dd if=/dev/zero of=/fast/x bs=1M count=9 2>/dev/null || echo "full at $(stat -c %s /fast/x)"
dd if=/dev/zero of=/dev/shm/x bs=1M count=9 2>/dev/null || echo "shared memory is full at $(stat -c %s /dev/shm/x)"
echo first > /shared/run
until [ -e /shared/seen ]; do sleep 0.1; done
exit 1`)
		reader := stack.Shell(busybox, "until [ -e /there/run ]; do sleep 0.1; done; echo seen > /there/seen; echo done")
		reader.Name, reader.User = "reader", new("1000")
		writer.VolumeMounts = &[]openapi.VolumeMount{{Volume: "shared", MountPath: "/shared"}, {Volume: "fast", MountPath: "/fast"}}
		reader.VolumeMounts = &[]openapi.VolumeMount{{Volume: "shared", MountPath: "/there"}}
		s.Containers = []openapi.Container{writer, reader}
	})
	tn.Wait(t, pod.ID, openapi.PodPhaseSucceeded)
	for _, want := range []string{"full at 3145728", "shared memory is full at 5242880", "the next run sees first"} {
		tn.WaitForLog(t, pod.ID, pod.Spec.Containers[0].Name, want)
	}
}
