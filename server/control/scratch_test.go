// SPDX-License-Identifier: Apache-2.0

package control

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"husk"
	"husk/scheduler"
	"husk/store"
)

// The scratch disks of a node's pods are never larger together than its agent says.
func TestScratchDisksAreBoundedOnANode(t *testing.T) {
	t.Parallel()
	f := open(t)
	s := f.scheduling()
	size := husk.Resources{CPUMillis: 8000, MemoryMiB: 8192}
	node := f.node("node", size, map[string]string{})
	beat := func(scratchGiB *int) {
		t.Helper()
		_, _, err := f.Heartbeat(t.Context(), store.Beat{Node: husk.Node{
			ID: node.ID, Capacity: size, VMMOverheadMiB: 50, ScratchGiB: scratchGiB, Endpoint: "https://192.0.2.7:7443", Capabilities: []string{husk.CapabilityScratch},
		}})
		must(t, err)
	}
	create := func(n int, change func(*husk.PodSpec)) husk.Pod {
		t.Helper()
		spec := husk.PodSpec{
			Containers: []husk.Container{{Name: "main", Image: f.image.Reference}}, Resources: husk.Resources{CPUMillis: 100, MemoryMiB: 128}, RestartPolicy: husk.RestartAlways,
		}
		change(&spec)
		p, err := f.tenant.CreatePod(t.Context(), once(), fmt.Sprintf("pod-%d", n), map[string]string{}, nil, spec)
		must(t, err)
		return p
	}
	decided := func(p husk.Pod) husk.Pod {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if err := s.pass(t.Context(), 0); err != nil && !errors.Is(err, ErrMore) {
				t.Fatal(err)
			}
			var err error
			p, err = f.tenant.Pod(t.Context(), p.ID)
			must(t, err)
			if p.Status.NodeName != "" || p.Status.Reason != "" {
				break
			}
		}
		return p
	}
	usual := func(*husk.PodSpec) {}

	fifteen := 15
	beat(&fifteen)
	if p := decided(create(1, usual)); p.Status.NodeName != "node" {
		t.Errorf("the first pod is not placed: %+v", p.Status)
	}
	second := decided(create(2, usual))
	if second.Status.NodeName != "" || second.Status.Reason != string(scheduler.InsufficientExtra) {
		t.Errorf("20 GiB of disks on a node with 15: %+v", second.Status)
	}
	if p := decided(create(3, func(s *husk.PodSpec) { s.EphemeralStorage = husk.StorageMemory })); p.Status.NodeName != "node" {
		t.Errorf("a pod without a disk is not placed: %+v", p.Status)
	}
	if p := decided(create(4, func(s *husk.PodSpec) { s.EphemeralStorageGiB = 5 })); p.Status.NodeName != "node" {
		t.Errorf("a pod with a small disk is not placed: %+v", p.Status)
	}
	now, err := f.Node(t.Context(), node.ID)
	must(t, err)
	if now.AllocatedScratchGiB != 15 || *now.ScratchGiB != 15 {
		t.Errorf("the node has %d of %d GiB allocated, want 15 of 15", now.AllocatedScratchGiB, *now.ScratchGiB)
	}
	// The agent of the node is replaced by one that does not make scratch disks: its pods write to memory.
	beat(nil)
	for deadline := time.Now().Add(30 * time.Second); second.Status.NodeName == "" && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err := s.pass(t.Context(), 0); err != nil && !errors.Is(err, ErrMore) {
			t.Fatal(err)
		}
		second, err = f.tenant.Pod(t.Context(), second.ID)
		must(t, err)
	}
	if second.Status.NodeName != "node" {
		t.Errorf("a node without scratch disks does not take the usual pod: %+v", second.Status)
	}
}
