package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/uuid"

	"husk/openapi"
)

// A pod of a higher priority takes the room of a lower one. The lower one stops in its own time, waits, and starts again when there is
// room: with its id, its address and what its volume had, and with another key.
func TestAnEvictedPodStartsAgain(t *testing.T) {
	tn := newTenant(t)
	if got, err := tn.operator.UpdateTenantWithResponse(t.Context(), tn.id, nil, openapi.TenantUpdate{Quota: openapi.QuotaChange{Priority: new(10)}}); err != nil || got.StatusCode() != http.StatusOK {
		t.Fatalf("allow a priority: %v", err)
	}
	nodes, err := tn.operator.ListNodesWithResponse(t.Context())
	if err != nil || nodes.JSON200 == nil || len(nodes.JSON200.Items) != 1 {
		t.Fatalf("nodes: %v", err)
	}
	free := nodes.JSON200.Items[0].SchedulableCPUMillis - nodes.JSON200.Items[0].Allocated.CPUMillis
	busybox, data := tn.importImage(t, "busybox"), tn.volume(t, "data")
	low := tn.order(t, "low", func(s *openapi.PodSpec) {
		s.Resources.CPUMillis = free - 100
		s.Volumes = &[]openapi.PodVolume{data}
		c := shell(busybox, "echo started >> /data/starts; cat /data/starts; trap 'echo stopped; sync; exit 0' TERM; while :; do sleep 1; done")
		c.VolumeMounts = &[]openapi.VolumeMount{{Volume: "data", MountPath: "/data"}}
		s.Containers = []openapi.Container{c}
	})
	first := tn.wait(t, low.ID, openapi.PodPhaseRunning)
	key := tn.cephKey(t, low.ID)

	urgent := tn.order(t, "urgent", func(s *openapi.PodSpec) {
		s.Resources.CPUMillis = 600
		s.Scheduling = &openapi.Scheduling{Priority: new(10)}
		s.Containers = []openapi.Container{shell(busybox, "exec sleep 1000000")}
	})
	tn.wait(t, urgent.ID, openapi.PodPhaseRunning)
	waiting := tn.wait(t, low.ID, openapi.PodPhasePending)
	if list := tn.virsh("list", "--all", "--uuid"); strings.Contains(list, low.ID.String()) {
		t.Error("the evicted pod still has a domain")
	}
	if waiting.Status.NodeName != nil && *waiting.Status.NodeName != "" || waiting.Generation != first.Generation+2 {
		t.Errorf("the evicted pod is %+v", waiting)
	}
	tn.deletePod(t, urgent.ID)
	again := tn.wait(t, low.ID, openapi.PodPhaseRunning)
	if *again.Status.Address != *first.Status.Address {
		t.Errorf("its address was %s and is %s", *first.Status.Address, *again.Status.Address)
	}
	if tn.cephKey(t, low.ID) == key {
		t.Error("it still has the key of its first place")
	}
	eventually(t, bootTime, func() error {
		if log := tn.logs(t, low.ID, nil); strings.Count(log, "started\n") != 2 {
			return fmt.Errorf("its log is %s", log)
		}
		return nil
	})
}

func (s *stack) cephKey(t *testing.T, pod uuid.UUID) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ceph", "-c", s.env["HUSK_CEPH_CONF"], "auth", "print-key", "client.husk-pod."+pod.String()).CombinedOutput() //nolint:gosec // ours
	if err != nil {
		t.Fatalf("key of pod %s: %v: %s", pod, err, out)
	}
	return string(out)
}
