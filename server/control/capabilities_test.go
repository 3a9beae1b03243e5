// SPDX-License-Identifier: Apache-2.0

package control

import (
	"errors"
	"testing"
	"time"

	"husk/store"

	"husk"
)

// An agent of an earlier version would run a privileged container as any other, so its node does not get one.
func TestAPrivilegedPodGetsANodeWhoseAgentKnowsThem(t *testing.T) {
	t.Parallel()
	f := open(t)
	s := f.scheduling()
	size := husk.Resources{CPUMillis: 8000, MemoryMiB: 8192}
	f.node("old", size, map[string]string{})
	renewed := f.node("renewed", size, map[string]string{})
	pod, err := f.tenant.CreatePod(t.Context(), once(), "privileged", map[string]string{}, nil, husk.PodSpec{
		Containers: []husk.Container{{Name: "main", Image: f.image.Reference}, {Name: "side", Image: f.image.Reference, Privileged: true}},
		Resources:  husk.Resources{CPUMillis: 100, MemoryMiB: 128}, RestartPolicy: husk.RestartAlways,
	})
	must(t, err)
	placed := func(want string) {
		t.Helper()
		var got husk.Pod
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			if err := s.pass(t.Context(), 0); err != nil && !errors.Is(err, ErrMore) {
				t.Fatal(err)
			}
			got, err = f.tenant.Pod(t.Context(), pod.ID)
			must(t, err)
			if got.Status.NodeName != "" || want == "" && got.Status.Reason != "" {
				break
			}
		}
		if got.Status.NodeName != want {
			t.Errorf("the pod is on node %q, want %q: %s", got.Status.NodeName, want, got.Status.Message)
		}
	}
	placed("")
	_, _, err = f.Heartbeat(t.Context(), store.Beat{Node: husk.Node{
		ID: renewed.ID, Capacity: size, VMMOverheadMiB: 50, Endpoint: "https://192.0.2.7:7443", Capabilities: []string{husk.CapabilityPrivileged},
	}})
	must(t, err)
	placed("renewed")
}
