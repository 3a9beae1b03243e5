// SPDX-License-Identifier: Apache-2.0

package volumes

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/stack"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

// usedMiB returns how much a volume has stored in Ceph.
func usedMiB(t *testing.T, tn *stack.Tenant, data openapi.PodVolume) int64 {
	t.Helper()
	var du struct {
		Images []struct {
			Used int64 `json:"used_size"`
		}
	}
	out := tn.RBD(t, "du", "--format", "json", "husk-volumes/vol-"+data.VolumeID.String())
	if err := json.Unmarshal([]byte(out), &du); err != nil || len(du.Images) != 1 {
		t.Fatalf("rbd du: %v: %s", err, out)
	}
	return du.Images[0].Used >> 20
}

// What a pod deletes and trims is also deleted in Ceph.
func TestTrimmedBlocksLeaveTheStorage(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox, data := tn.ImportImage(t, "busybox"), tn.Volume(t, "data")
	pod := tn.Create(t, "trims", func(s *openapi.PodSpec) {
		with(data, busybox, `dd if=/dev/urandom of=/data/big bs=1M count=200 && sync && echo written
			until [ -e /data/go ]; do sleep 0.2; done
			rm /data/big && sync && fstrim /data && echo trimmed; exec sleep 1000000`)(s)
		s.Containers[0].Privileged = new(true) // fstrim needs CAP_SYS_ADMIN
	})
	tn.WaitForLog(t, tn.Wait(t, pod.ID, openapi.PodPhaseRunning).ID, "main", "written\n")
	full := usedMiB(t, tn, data)
	if full < 200 {
		t.Errorf("200 MiB are written, and the volume uses %d MiB in Ceph", full)
	}
	if r := tn.Run(t, nil, "exec", "trims", "--", "touch", "/data/go"); r.Code != 0 {
		t.Fatalf("husk exec: %+v", r)
	}
	tn.WaitForLog(t, pod.ID, "main", "trimmed\n")
	after := usedMiB(t, tn, data)
	t.Logf("the volume uses %d MiB in Ceph, and %d MiB after the trim", full, after)
	if after > full-150 {
		t.Errorf("200 MiB were deleted and trimmed, and the volume uses %d MiB in Ceph instead of %d", after, full)
	}
}

// A full volume fails its own pod. The neighbor on the same node continues to write.
func TestAFullVolumeFailsOnlyItsOwnPod(t *testing.T) {
	t.Parallel()
	tn, other := stack.NewTenant(t), stack.NewTenant(t)
	full, data := tn.Volume(t, "full"), other.Volume(t, "data")
	ours, theirs := tn.ImportImage(t, "busybox"), other.ImportImage(t, "busybox")
	neighbor := other.Create(t, "neighbor", with(data, theirs, `n=0; while dd if=/dev/zero of=/data/x bs=64k count=1 conv=fsync 2>/dev/null; do n=$((n+1)); echo "write $n"; sleep 0.2; done; echo "cannot write"`))
	filler := tn.Create(t, "filler", func(s *openapi.PodSpec) {
		with(full, ours, `fallocate -l 900M /data/space && dd if=/dev/zero of=/data/rest bs=1M || { echo "the volume is full"; exit 3; }`)(s)
		s.RestartPolicy = new(openapi.Never)
	})
	other.WaitForLog(t, other.Wait(t, neighbor.ID, openapi.PodPhaseRunning).ID, "main", "write 1\n")
	failed := tn.Wait(t, filler.ID, openapi.PodPhaseFailed)
	if log := tn.Logs(t, filler.ID, nil); !contains(log, "No space left on device") || !contains(log, "the volume is full") {
		t.Errorf("the pod with the full volume has logged %q, and is %+v", log, failed.Status)
	}
	before := strings.Count(other.Logs(t, neighbor.ID, nil), "write ")
	stack.Eventually(t, 20*time.Second, func() error {
		if n := strings.Count(other.Logs(t, neighbor.ID, nil), "write "); n < before+5 {
			return fmt.Errorf("the neighbor has written %d times, and %d times before", n, before)
		}
		return nil
	})
	if log := other.Logs(t, neighbor.ID, nil); contains(log, "cannot write") {
		t.Errorf("the neighbor cannot write: %s", log)
	}
}
