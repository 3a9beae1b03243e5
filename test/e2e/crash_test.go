package e2e

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"husk/openapi"
)

var errNotYet = errors.New("not yet")

// moments are where a boot is interrupted.
var moments = []struct {
	name    string
	reached func(openapi.Pod) bool
}{
	{"accepted", func(openapi.Pod) bool { return true }},
	{"placed", func(p openapi.Pod) bool { return p.Status.Timeline.PlacedAt != nil }},
	{"starting", func(p openapi.Pod) bool { return p.Status.Timeline.DomainStartingAt != nil }},
	{"machine on", func(p openapi.Pod) bool { return qemu(p.ID.String()) != 0 }},
	{"guest ready", func(p openapi.Pod) bool {
		return p.Status.Timeline.GuestReadyAt != nil || p.Status.Phase == openapi.PodPhaseRunning
	}},
}

// Agent, server and Postgres are killed at each moment of a boot. The pod ends Running, with one machine; if that had started, it is
// the same process.
func TestAKilledPartDoesNotStopABoot(t *testing.T) {
	tn := newTenant(t)
	busybox := tn.importImage(t, "busybox")
	for _, part := range []string{"agent", "server", "postgres"} {
		for i, moment := range moments {
			t.Run(part+" when "+moment.name, func(t *testing.T) {
				pod := tn.order(t, fmt.Sprintf("%s-%d", part, i), func(s *openapi.PodSpec) {
					s.Containers = []openapi.Container{shell(busybox, "echo up; exec sleep 1000000")}
				})
				eventually(t, bootTime, func() error {
					now, err := tn.get(t.Context(), pod.ID)
					if err == nil && !moment.reached(now) {
						return errNotYet
					}
					return err
				})
				before := qemu(pod.ID.String())
				tn.kill(t, part)
				tn.wait(t, pod.ID, openapi.PodPhaseRunning)
				tn.says(t, pod.ID, "up")
				if after := qemu(pod.ID.String()); before != 0 && after != before {
					t.Errorf("the machine was process %d and is %d", before, after)
				}
				if list := tn.virsh("list", "--all", "--uuid"); strings.Count(list, pod.ID.String()) != 1 {
					t.Errorf("the pod should have one domain:\n%s", list)
				}
				tn.deletePod(t, pod.ID)
			})
		}
	}
}

// A running machine does not notice that its agent was killed, and the new agent goes on with it.
func TestAKilledAgentDisturbsNoPod(t *testing.T) {
	tn := newTenant(t)
	busybox := tn.importImage(t, "busybox")
	pod := tn.order(t, "steady", func(s *openapi.PodSpec) {
		s.Containers = []openapi.Container{shell(busybox, "httpd -p 80 -h /var/www; n=0; while :; do n=$((n+1)); echo line $n; sleep 0.2; done")}
	})
	pod = tn.wait(t, pod.ID, openapi.PodPhaseRunning)
	tn.says(t, pod.ID, "line 3")
	before := qemu(pod.ID.String())
	for range 3 {
		tn.kill(t, "agent")
		if _, err := page(t.Context(), pod, "/"); err != nil {
			t.Errorf("the pod does not answer while its agent is away: %v", err)
		}
	}
	eventually(t, 30*time.Second, func() error { // the agent follows the log again, from where it was
		lines := strings.Count(tn.logs(t, pod.ID, nil), "\n")
		if !strings.Contains(tn.logs(t, pod.ID, nil), fmt.Sprintf("line %d\n", lines)) || lines < 10 {
			return fmt.Errorf("%d lines", lines)
		}
		return nil
	})
	lines := strings.Split(strings.TrimSpace(tn.logs(t, pod.ID, nil)), "\n")
	for i, line := range lines {
		if want := fmt.Sprintf("line %d", i+1); line != want {
			t.Fatalf("log line %d is %q: something was lost or doubled while agents came and went", i+1, line)
		}
	}
	now, err := tn.get(t.Context(), pod.ID)
	if err != nil || now.Status.Phase != openapi.PodPhaseRunning || value(now.Status.Reason) != "" || *now.Status.Restarts != 0 {
		t.Errorf("the pod is %+v (%v)", now.Status, err)
	}
	if after := qemu(pod.ID.String()); after != before {
		t.Errorf("the machine was process %d and is %d", before, after)
	}
	if _, err := page(t.Context(), pod, "/"); err != nil {
		t.Errorf("the pod does not answer any more: %v", err)
	}
}

// A machine that dies is started again, unless its pod says never.
func TestAMachineThatDies(t *testing.T) {
	tn := newTenant(t)
	busybox := tn.importImage(t, "busybox")
	order := func(name string, policy openapi.RestartPolicy) openapi.Pod {
		pod := tn.order(t, name, func(s *openapi.PodSpec) {
			s.RestartPolicy = &policy
			s.Containers = []openapi.Container{shell(busybox, "exec sleep 1000000")}
		})
		return tn.wait(t, pod.ID, openapi.PodPhaseRunning)
	}
	always, never := order("always", openapi.Always), order("never", openapi.Never)
	for _, pod := range []openapi.Pod{always, never} {
		if err := syscall.Kill(qemu(pod.ID.String()), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	failed := tn.wait(t, never.ID, openapi.PodPhaseFailed)
	if value(failed.Status.Reason) != "MachineDied" {
		t.Errorf("the reason is %q", value(failed.Status.Reason))
	}
	eventually(t, bootTime, func() error {
		pod, err := tn.get(t.Context(), always.ID)
		if err == nil && (*pod.Status.Restarts != 1 || pod.Status.Phase != openapi.PodPhaseRunning) {
			return fmt.Errorf("%d restarts, %s", *pod.Status.Restarts, pod.Status.Phase)
		}
		return err
	})
}

// A node whose heartbeat stays away is lost and its pods are Unknown; nothing is moved. When it is back, all is as before.
func TestALostNode(t *testing.T) {
	tn := newTenant(t)
	busybox := tn.importImage(t, "busybox")
	pod := tn.order(t, "left", func(s *openapi.PodSpec) {
		s.Containers = []openapi.Container{shell(busybox, "exec sleep 1000000")}
	})
	tn.wait(t, pod.ID, openapi.PodPhaseRunning)
	before := qemu(pod.ID.String())
	agent, err := tn.pid("agent")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(agent, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(agent, syscall.SIGCONT) }) // the tests after this one need it
	unknown := tn.wait(t, pod.ID, openapi.PodPhaseUnknown)
	if value(unknown.Status.Reason) != "NodeLost" {
		t.Errorf("the reason is %q", value(unknown.Status.Reason))
	}
	nodes, err := tn.operator.ListNodesWithResponse(t.Context())
	if err != nil || nodes.JSON200.Items[0].State != openapi.NodeStateLost {
		t.Errorf("the node is not lost: %v: %s", err, nodes.Body)
	}
	waiting := tn.order(t, "waiting", func(s *openapi.PodSpec) { s.Containers = []openapi.Container{shell(busybox, "exec sleep 1000000")} })
	eventually(t, 20*time.Second, func() error {
		p, err := tn.get(t.Context(), waiting.ID)
		if err == nil && value(p.Status.Reason) != "NoNode" {
			return fmt.Errorf("reason %q", value(p.Status.Reason))
		}
		return err
	})
	if err := syscall.Kill(agent, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	tn.wait(t, pod.ID, openapi.PodPhaseRunning)
	tn.wait(t, waiting.ID, openapi.PodPhaseRunning)
	if after := qemu(pod.ID.String()); after != before {
		t.Errorf("the machine was process %d and is %d", before, after)
	}
}

// An import that is cut in the middle is done again, and the image is whole.
func TestAServerKilledInAnImport(t *testing.T) {
	tn := newTenant(t)
	created, err := tn.api.ImportImageWithResponse(t.Context(), nil, openapi.ImageImport{Reference: tn.refs["postgres"]})
	if err != nil || created.JSON201 == nil {
		t.Fatalf("import: %v: %s", err, created.Body)
	}
	tn.kill(t, "server")
	eventually(t, 2*time.Minute, func() error {
		got, err := tn.api.GetImageWithResponse(t.Context(), created.JSON201.ID)
		if err == nil && (got.JSON200 == nil || got.JSON200.State != openapi.ImageStateReady) {
			err = fmt.Errorf("%s", got.Body)
		}
		return err
	})
	if list := tn.rbd(t, "ls", "husk-images"); strings.Contains(list, ".half") {
		t.Errorf("a half import is left:\n%s", list)
	}
}

// libvirtd may die; machines live on, and new ones start when it is back.
func TestAKilledLibvirt(t *testing.T) {
	tn := newTenant(t)
	busybox := tn.importImage(t, "busybox")
	idle := func(s *openapi.PodSpec) { s.Containers = []openapi.Container{shell(busybox, "exec sleep 1000000")} }
	first := tn.order(t, "first", idle)
	tn.wait(t, first.ID, openapi.PodPhaseRunning)
	before := qemu(first.ID.String())
	tn.kill(t, "libvirtd")
	second := tn.order(t, "second", idle)
	tn.wait(t, second.ID, openapi.PodPhaseRunning)
	tn.wait(t, first.ID, openapi.PodPhaseRunning)
	if after := qemu(first.ID.String()); after != before {
		t.Errorf("the machine was process %d and is %d", before, after)
	}
}
