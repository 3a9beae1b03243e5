// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/test/pace"
	"husk/test/stack"
)

// moments are the points at which a boot is interrupted, in order.
var moments = []struct {
	name    string
	reached func(openapi.Pod) bool
}{
	{"accepted", func(openapi.Pod) bool { return true }},
	{"placed", func(p openapi.Pod) bool { return p.Status.Timeline.PlacedAt != nil }},
	{"starting", func(p openapi.Pod) bool { return p.Status.Timeline.DomainStartingAt != nil }},
	{"machine on", func(p openapi.Pod) bool { return stack.QEMU(p.ID) != 0 }},
	{"guest ready", func(p openapi.Pod) bool {
		return p.Status.Timeline.GuestReadyAt != nil || p.Status.Phase == openapi.PodPhaseRunning
	}},
}

// The agent, the server and Postgres are killed at each moment of a boot. Three boots cover every
// pair of part and moment. In each boot, the test kills one part at every moment, and the boot
// continues to the next moment. At the end the pod is Running and has one machine, whose process
// has not changed since its start.
func TestAKilledPartDoesNotStopABoot(t *testing.T) {
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	parts := []string{"agent", "server", "postgres"}
	for first := range parts {
		t.Run(parts[first]+" first", func(t *testing.T) {
			pod := tn.Create(t, fmt.Sprintf("boot-%d", first), func(s *openapi.PodSpec) {
				s.Containers = []openapi.Container{stack.Shell(busybox, "echo up; exec sleep 1000000")}
			})
			machine := 0
			for i, moment := range moments {
				part := parts[(first+i)%len(parts)]
				waitForMoment(t, tn, pod.ID, moment.name, moment.reached)
				if machine == 0 {
					machine = stack.QEMU(pod.ID)
				}
				t.Logf("%s: %s is killed", moment.name, part)
				tn.Kill(t, part)
			}
			tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
			tn.WaitForLog(t, pod.ID, "", "up")
			if after := stack.QEMU(pod.ID); machine == 0 || after != machine {
				t.Errorf("the machine was process %d and is %d", machine, after)
			}
			if list := tn.Virsh("list", "--all", "--uuid"); strings.Count(list, pod.ID.String()) != 1 {
				t.Errorf("the pod should have one domain:\n%s", list)
			}
			tn.DeletePod(t, pod.ID)
		})
	}
}

// waitForMoment polls with short pauses, so that the part is killed at the moment and not long
// after it.
func waitForMoment(t *testing.T, tn *stack.Tenant, pod uuid.UUID, name string, reached func(openapi.Pod) bool) {
	t.Helper()
	var now openapi.Pod
	for end := time.Now().Add(pace.Limit(stack.BootTime)); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var err error
		if now, err = tn.Get(t.Context(), pod); err == nil && reached(now) {
			return
		}
	}
	t.Fatalf("the boot does not reach %q: %+v", name, now.Status)
}

// A running virtual machine continues when its agent is killed, and the new agent manages it.
func TestAKilledAgentDisturbsNoPod(t *testing.T) {
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	pod := tn.Create(t, "steady", func(s *openapi.PodSpec) {
		s.Containers = []openapi.Container{stack.Shell(busybox, "httpd -p 80 -h /var/www; n=0; while :; do n=$((n+1)); echo line $n; sleep 0.2; done")}
	})
	pod = tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	tn.WaitForLog(t, pod.ID, "", "line 3")
	prober := tn.Create(t, "prober", func(s *openapi.PodSpec) {
		s.Containers = []openapi.Container{stack.Shell(busybox, "until timeout 5 wget -q -O /dev/null http://"+*pod.Status.Address+"/; do sleep 1; done; "+
			"while :; do timeout 20 wget -q -O /dev/null http://"+*pod.Status.Address+"/ && echo responds || echo silent; sleep 0.2; done")}
	})
	tn.WaitForLog(t, prober.ID, "", "responds\n")
	before := stack.QEMU(pod.ID)
	for range 3 {
		tn.Kill(t, "agent")
	}
	stack.Eventually(t, 30*time.Second, func() error { // the agent follows the log again, from its last position
		lines := strings.Count(tn.Logs(t, pod.ID, nil), "\n")
		if !strings.Contains(tn.Logs(t, pod.ID, nil), fmt.Sprintf("line %d\n", lines)) || lines < 10 {
			return fmt.Errorf("%d lines", lines)
		}
		return nil
	})
	lines := strings.Split(strings.TrimSpace(tn.Logs(t, pod.ID, nil)), "\n")
	for i, line := range lines {
		if want := fmt.Sprintf("line %d", i+1); line != want {
			t.Fatalf("log line %d is %q: lines were lost or duplicated when the agent was killed", i+1, line)
		}
	}
	// On a slow machine the agent is down for longer than the node's lease, and the pod is Unknown
	// for a moment.
	now := tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	if stack.Value(now.Status.Reason) != "" || *now.Status.Restarts != 0 {
		t.Errorf("the pod is %+v", now.Status)
	}
	if after := stack.QEMU(pod.ID); after != before {
		t.Errorf("the machine was process %d and is %d", before, after)
	}
	count := strings.Count(tn.Logs(t, prober.ID, nil), "responds\n")
	stack.Eventually(t, 30*time.Second, func() error {
		if strings.Count(tn.Logs(t, prober.ID, nil), "responds\n") <= count {
			return errors.New("the pod no longer responds to another one")
		}
		return nil
	})
	if strings.Contains(tn.Logs(t, prober.ID, nil), "silent") {
		t.Error("the pod did not respond to another one while its agent was down")
	}
}

// A node that sends no heartbeats becomes Lost, and its pods show that what is known of them is old, but they are not moved.
// After the next heartbeat they are known again.
func TestPodsOfALostNodeBecomeUnknown(t *testing.T) {
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	pod := tn.Create(t, "left", stack.Idle(busybox))
	tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	before := stack.QEMU(pod.ID)
	agent, err := tn.PID("agent")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(agent, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(agent, syscall.SIGCONT) }) // the tests after this one need it
	isKnown := func(want bool) {
		t.Helper()
		stack.Eventually(t, time.Minute, func() error {
			p, err := tn.Get(t.Context(), pod.ID)
			if err == nil && (p.Status.Phase != openapi.PodPhaseRunning || (p.Status.UnknownSince == nil) != want || (stack.Value(p.Status.Reason) == husk.ReasonNodeLost) == want) {
				return fmt.Errorf("the pod is %s (%s), unknown since %v", p.Status.Phase, stack.Value(p.Status.Reason), p.Status.UnknownSince)
			}
			return err
		})
	}
	isKnown(false)
	nodes, err := tn.Operator.Nodes.List(t.Context())
	if err != nil || len(nodes) != 1 || nodes[0].State != openapi.NodeStateLost {
		t.Errorf("the node is not lost: %v: %+v", err, nodes)
	}
	waiting := tn.Create(t, "waiting", stack.Idle(busybox))
	stack.Eventually(t, 20*time.Second, func() error {
		p, err := tn.Get(t.Context(), waiting.ID)
		if err == nil && stack.Value(p.Status.Reason) != "NoNode" {
			return fmt.Errorf("reason %q", stack.Value(p.Status.Reason))
		}
		return err
	})
	if err := syscall.Kill(agent, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	isKnown(true)
	tn.Wait(t, waiting.ID, openapi.PodPhaseRunning)
	if after := stack.QEMU(pod.ID); after != before {
		t.Errorf("the machine was process %d and is %d", before, after)
	}
}

// An interrupted import is repeated, and the image is complete.
func TestAnImportIsRepeatedAfterTheServerWasKilled(t *testing.T) {
	tn := stack.NewTenant(t)
	created, err := tn.API.Images.Import(t.Context(), openapi.ImageImport{Reference: tn.Refs["postgres"]})
	if err != nil {
		t.Fatalf("import: %v", err)
	}
	tn.Kill(t, "server")
	stack.Eventually(t, 2*time.Minute, func() error {
		got, err := tn.API.Images.Get(t.Context(), created.ID)
		if err == nil && got.State != openapi.ImageStateReady {
			err = fmt.Errorf("the image is %+v", got)
		}
		return err
	})
	if list := tn.RBD(t, "ls", "husk-images"); strings.Contains(list, "new-") {
		t.Errorf("an incomplete import still exists:\n%s", list)
	}
}

// When libvirtd is killed or restarted, machines and sessions continue. New machines start when libvirtd responds again.
func TestMachinesContinueWithoutLibvirt(t *testing.T) {
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	first := tn.Create(t, "first", stack.Idle(busybox))
	tn.Wait(t, first.ID, openapi.PodPhaseRunning)
	before := stack.QEMU(first.ID)
	session := stack.Start(t, tn.Husk(t.Context(), "exec", "-i", "first", "--", "cat"))
	say := func(text string) {
		t.Helper()
		if _, err := session.Write([]byte(text + "\n")); err != nil {
			t.Fatal(err)
		}
		session.Expect(t, text)
	}
	say("before")
	tn.Kill(t, "libvirtd")
	say("killed")
	second := tn.Create(t, "second", stack.Idle(busybox))
	tn.Wait(t, second.ID, openapi.PodPhaseRunning)
	restartLibvirtd(t, tn)
	say("restarted")
	tn.Wait(t, first.ID, openapi.PodPhaseRunning)
	if after := stack.QEMU(first.ID); after != before {
		t.Errorf("the machine was process %d and is %d", before, after)
	}
}

// restartLibvirtd ends libvirtd in order, as an update of its package does.
func restartLibvirtd(t *testing.T, tn *stack.Tenant) {
	t.Helper()
	before, err := tn.PID("libvirtd")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(before, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	stack.Eventually(t, time.Minute, func() error {
		now, err := tn.PID("libvirtd")
		if err == nil && now == before {
			err = errors.New("libvirtd was not restarted")
		}
		return err
	})
}
