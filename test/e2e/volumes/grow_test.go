// SPDX-License-Identifier: Apache-2.0

package volumes

import (
	"fmt"
	"testing"
	"time"

	"husk"
	"husk/client"
	"husk/openapi"
	"husk/test/stack"
)

// sizes prints the size of the file system in MiB whenever it changes, and writes all the time.
const sizes = `old=
while :; do
	now=$(($(stat -f -c "%b*%S" /data)/1048576))
	[ "$now" = "$old" ] || echo "size $(($now/512))"
	old=$now
	echo $now >> /data/log || echo "cannot write"
	sleep 0.05
done`

// The unit of the sizes is 512 MiB, because a file system is a little smaller than its disk: 1 GiB is 1, 2 GiB are 3, 3 GiB are 5.
func TestAVolumeGrowsWhileItsPodRuns(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox, data := tn.ImportImage(t, "busybox"), tn.Volume(t, "data")
	pod := tn.Wait(t, tn.Create(t, "writer", with(data, busybox, sizes)).ID, openapi.PodPhaseRunning)
	tn.WaitForLog(t, pod.ID, "main", "size 1\n")
	for i, gib := range []int{2, 3} {
		began := time.Now()
		grown, err := tn.API.Volumes.Grow(t.Context(), *data.VolumeID, gib)
		if err != nil {
			t.Fatal(err)
		}
		if grown.SizeGiB != gib || grown.State != openapi.VolumeStateInUse {
			t.Errorf("the volume is %+v", grown)
		}
		tn.WaitForLog(t, pod.ID, "main", fmt.Sprintf("size %d\n", 2*gib-1))
		t.Logf("growth %d was seen in the guest after %s", i+1, time.Since(began).Round(10*time.Millisecond))
	}
	if got, err := tn.API.Pods.Get(t.Context(), pod.ID); err != nil || openapi.Value(got.Status.Restarts) != 0 || got.Status.Phase != openapi.PodPhaseRunning {
		t.Errorf("the pod is %+v: %v", got.Status, err)
	}
	_, err := tn.API.Volumes.Grow(t.Context(), *data.VolumeID, 2)
	if !client.HasCode(err, husk.CodeInvalid) {
		t.Errorf("a smaller size is answered with %v", err)
	}
	_, err = tn.API.Volumes.Grow(t.Context(), *data.VolumeID, 1000)
	if !client.HasCode(err, husk.CodeQuotaExceeded) {
		t.Errorf("more than the quota is answered with %v", err)
	}
}

// The file system of a volume without a pod grows when the next pod mounts it.
func TestAVolumeGrowsWithoutAPod(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox, data := tn.ImportImage(t, "busybox"), tn.Volume(t, "data")
	stack.Eventually(t, 20*time.Second, func() error {
		_, err := tn.API.Volumes.Grow(t.Context(), *data.VolumeID, 3) // it is being created at first
		return err
	})
	pod := tn.Create(t, "reader", with(data, busybox, sizes))
	tn.WaitForLog(t, tn.Wait(t, pod.ID, openapi.PodPhaseRunning).ID, "main", "size 5\n")
	if out := tn.RBD(t, "info", "husk-volumes/vol-"+data.VolumeID.String()); !contains(out, "size 3 GiB") || contains(out, "invalid") {
		t.Errorf("the image is %s", out)
	}
}
