// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"fmt"
	"strings"
	"testing"

	"husk/openapi"
	"husk/test/stack"
)

// A pod with a higher priority takes the capacity of a pod with a lower one. The evicted pod stops
// within its grace period and waits. It starts again when capacity is free, with the same ID,
// address and volume data, and with a new key.
func TestAnEvictedPodStartsAgain(t *testing.T) {
	tn := stack.NewTenant(t)
	tn.SetQuota(t, openapi.QuotaChange{Priority: new(10)})
	nodes, err := tn.Operator.Nodes.List(t.Context())
	if err != nil || len(nodes) != 1 {
		t.Fatalf("nodes: %v: %+v", err, nodes)
	}
	free := nodes[0].SchedulableCPUMillis - nodes[0].Allocated.CPUMillis
	busybox, data := tn.ImportImage(t, "busybox"), tn.Volume(t, "data")
	low := tn.Create(t, "low", func(s *openapi.PodSpec) {
		s.Resources.CPUMillis = free - 100
		s.Volumes = &[]openapi.PodVolume{data}
		c := stack.Shell(busybox, "echo started >> /data/starts; cat /data/starts; trap 'echo stopped; sync; exit 0' TERM; while :; do sleep 1; done")
		c.VolumeMounts = &[]openapi.VolumeMount{{Volume: "data", MountPath: "/data"}}
		s.Containers = []openapi.Container{c}
	})
	first := tn.Wait(t, low.ID, openapi.PodPhaseRunning)
	key := tn.CephKey(t, low.ID)

	urgent := tn.Create(t, "urgent", func(s *openapi.PodSpec) {
		s.Resources.CPUMillis = 600
		s.Scheduling = &openapi.Scheduling{Priority: new(10)}
		s.Containers = []openapi.Container{stack.Shell(busybox, "exec sleep 1000000")}
	})
	tn.Wait(t, urgent.ID, openapi.PodPhaseRunning)
	waiting := tn.Wait(t, low.ID, openapi.PodPhasePending)
	if list := tn.Virsh("list", "--all", "--uuid"); strings.Contains(list, low.ID.String()) {
		t.Error("the evicted pod still has a domain")
	}
	if waiting.Status.NodeName != nil && *waiting.Status.NodeName != "" || waiting.Generation != first.Generation+2 {
		t.Errorf("the evicted pod is %+v", waiting)
	}
	tn.DeletePod(t, urgent.ID)
	again := tn.Wait(t, low.ID, openapi.PodPhaseRunning)
	if *again.Status.Address != *first.Status.Address {
		t.Errorf("its address was %s and is %s", *first.Status.Address, *again.Status.Address)
	}
	if tn.CephKey(t, low.ID) == key {
		t.Error("it still has the key of its first placement")
	}
	stack.Eventually(t, stack.BootTime, func() error {
		if log := tn.Logs(t, low.ID, nil); strings.Count(log, "started\n") != 2 {
			return fmt.Errorf("its log is %s", log)
		}
		return nil
	})
}
