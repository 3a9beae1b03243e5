// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/stack"
)

// A pod becomes larger and smaller while it runs. The guest sees it, nothing restarts, and the node and the ledger follow.
func TestAPodChangesItsSizeWhileItRuns(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	pod := tn.Create(t, "elastic", func(s *openapi.PodSpec) {
		s.Resources = openapi.Resources{CPUMillis: 1000, MemoryMiB: 128}
		s.Containers = []openapi.Container{stack.Shell(busybox, "while :; do :; done")} // it is busy meanwhile
	})
	pod = tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	began := *pod.Status.Timeline.DomainStartedAt
	sees := func() (cpus, memoryMiB int) {
		r := tn.Run(t, nil, "exec", "elastic", "--", "sh", "-c", "grep -c ^processor /proc/cpuinfo; grep MemTotal /proc/meminfo")
		fields := strings.Fields(r.Out)
		if len(fields) < 3 {
			return 0, 0
		}
		cpus, _ = strconv.Atoi(fields[0])
		kib, _ := strconv.Atoi(fields[2])
		return cpus, kib >> 10
	}
	cpus, before := sees()
	if cpus != 1 {
		t.Fatalf("a pod of one core sees %d", cpus)
	}
	resize := func(cpuMillis, memoryMiB, wantCPUs, wantMore int) time.Duration {
		at := time.Now()
		if _, err := tn.API.Pods.Resize(t.Context(), pod.ID, openapi.PodResize{CPUMillis: &cpuMillis, MemoryMiB: &memoryMiB}, false); err != nil {
			t.Fatal(err)
		}
		var took time.Duration
		stack.Eventually(t, 60*time.Second, func() error {
			cpus, memory := sees()
			if cpus != wantCPUs || memory-before < wantMore-8 || memory-before > wantMore+8 {
				return fmt.Errorf("the guest sees %d CPUs and %d MiB more", cpus, memory-before)
			}
			took = time.Since(at)
			return nil
		})
		stack.Eventually(t, 60*time.Second, func() error {
			now, err := tn.Get(t.Context(), pod.ID)
			if err == nil && now.Status.Resources != nil {
				err = fmt.Errorf("the pod has %+v", *now.Status.Resources)
			}
			return err
		})
		return took
	}
	t.Logf("larger after %s", resize(3000, 512, 3, 384))
	t.Logf("smaller after %s", resize(1000, 128, 1, 0))
	t.Logf("larger again after %s", resize(2000, 256, 2, 128))
	now := tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	if !now.Status.Timeline.DomainStartedAt.Equal(began) || openapi.Value(now.Status.Restarts) != 0 || now.Status.Containers[0].Restarts != 0 {
		t.Errorf("something was restarted: %+v", now.Status)
	}

	// It was started with 128 MiB, and husk does not wait for less until it is started again.
	r := tn.Run(t, nil, "resize", "elastic", "--memory", "64m", "--wait", "--timeout", "5m")
	if want := "pod/elastic has 2000m cpu and 128 MiB now, and gets 2000m cpu and 64 MiB at its next start"; r.Code != 0 || !strings.Contains(r.Out, want) {
		t.Errorf("exit code %d: %s%s", r.Code, r.Out, r.Errs)
	}
}
