// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/stack"
)

// The restart policy and the exit code decide whether a container is restarted. The delay grows
// with each restart.
func TestRestartPolicies(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	create := func(name string, policy openapi.RestartPolicy, script string) openapi.Pod {
		return tn.Create(t, name, func(s *openapi.PodSpec) {
			s.Resources.CPUMillis = 500
			s.RestartPolicy = &policy
			s.Containers = []openapi.Container{stack.Shell(busybox, script)}
		})
	}
	never := create("never", openapi.Never, "echo bye; exit 3")
	done := create("done", openapi.OnFailure, "exit 0")
	always := create("always", openapi.Always, "echo again; exit 0")

	failed := tn.Wait(t, never.ID, openapi.PodPhaseFailed)
	if len(failed.Status.Containers) == 0 {
		t.Fatalf("the pod is Failed, but its status has no container: %s %s\n%s", stack.Value(failed.Status.Reason), stack.Value(failed.Status.Message), tn.QEMULog(never.ID))
	}
	if c := failed.Status.Containers[0]; c.ExitCode == nil || *c.ExitCode != 3 || c.Restarts != 0 {
		t.Errorf("a container that ended with 3 under Never: %+v", c)
	}
	tn.WaitForLog(t, never.ID, "", "bye") // the log can be read after the machine has ended
	if stack.QEMU(never.ID) != 0 {
		t.Error("the machine of a pod that has failed still runs")
	}
	tn.Wait(t, done.ID, openapi.PodPhaseSucceeded)
	stack.Eventually(t, 60*time.Second, func() error {
		pod, err := tn.Get(t.Context(), always.ID)
		if err == nil && (len(pod.Status.Containers) == 0 || pod.Status.Containers[0].Restarts < 2) {
			return stack.ErrNotYet
		}
		return err
	})
	if pod, err := tn.Get(t.Context(), always.ID); err != nil || pod.Status.Phase != openapi.PodPhaseRunning {
		t.Errorf("a pod whose container is restarted is %s (%v)", pod.Status.Phase, err)
	}
	stack.Eventually(t, 60*time.Second, func() error { // the container also runs now and then
		pod, err := tn.Get(t.Context(), always.ID)
		if err != nil {
			return err
		}
		if c := pod.Status.Containers[0]; stack.Value(pod.Status.Reason) != "CrashLoopBackOff" || !strings.Contains(stack.Value(pod.Status.Message), "exit code 0") || c.NextStartAt == nil || stack.Value(c.LastReason) != "Completed" {
			return fmt.Errorf("the status is %+v, the container %+v", pod.Status, c)
		}
		if list := tn.Run(t, nil, "pods"); !strings.Contains(list.Out, "CrashLoopBackOff") {
			return fmt.Errorf("husk pods prints %s", list.Out)
		}
		return nil
	})
	events := tn.Run(t, nil, "events").Out
	for _, want := range []string{"ContainerStarted", "container main was started again, restart 1", "container main ended with exit code 0", "container main ended with exit code 3", "ContainerBackOff"} {
		if !strings.Contains(events, want) {
			t.Errorf("there is no event %q in\n%s", want, events)
		}
	}
}

// A machine that dies is started again, unless the restart policy of its pod is Never.
func TestAMachineThatDiesIsStartedAgain(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	create := func(name string, policy openapi.RestartPolicy) openapi.Pod {
		return tn.Create(t, name, func(s *openapi.PodSpec) {
			stack.Idle(busybox)(s)
			s.RestartPolicy = &policy
		})
	}
	always, never := create("always", openapi.Always), create("never", openapi.Never)
	for _, pod := range tn.Running(t, always, never) {
		if err := syscall.Kill(stack.QEMU(pod.ID), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	failed := tn.Wait(t, never.ID, openapi.PodPhaseFailed)
	if stack.Value(failed.Status.Reason) != "MachineDied" {
		t.Errorf("the reason is %q", stack.Value(failed.Status.Reason))
	}
	stack.Eventually(t, stack.BootTime, func() error {
		pod, err := tn.Get(t.Context(), always.ID)
		if err == nil && (*pod.Status.Restarts != 1 || pod.Status.Phase != openapi.PodPhaseRunning) {
			return fmt.Errorf("%d restarts, %s", *pod.Status.Restarts, pod.Status.Phase)
		}
		return err
	})
}
