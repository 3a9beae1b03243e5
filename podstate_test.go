// SPDX-License-Identifier: Apache-2.0

package husk_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"husk"
)

// at returns a time some seconds after nine o'clock.
func at(seconds int) *time.Time {
	t := time.Date(2026, 3, 2, 9, 0, seconds, 0, time.UTC)
	return &t
}

func TestACrashLoopIsVisible(t *testing.T) {
	t.Parallel()
	one, zero := 1, 0
	running := husk.ContainerStatus{Name: "web", State: husk.ContainerRunning, StartedAt: at(0)}
	for name, c := range map[string]struct {
		containers      []husk.ContainerStatus
		reason, message string
	}{
		"all is well": {[]husk.ContainerStatus{running}, "", ""},
		"waits for its restart": {
			[]husk.ContainerStatus{running, {Name: "job", State: husk.ContainerWaiting, Reason: "BackOff", LastReason: "Error", ExitCode: &one, Restarts: 3, StartedAt: at(1), NextStartAt: at(5)}},
			"CrashLoopBackOff", "container job ended with exit code 1 after 3 restarts, and starts again at 09:00:05 UTC",
		},
		"was killed": {
			[]husk.ContainerStatus{{Name: "job", State: husk.ContainerWaiting, Reason: "BackOff", LastReason: "OOMKilled", ExitCode: &one, NextStartAt: at(5)}},
			"CrashLoopBackOff", "container job was killed because the pod had no memory left, and starts again at 09:00:05 UTC",
		},
		"has failed": {
			[]husk.ContainerStatus{running, {Name: "job", State: husk.ContainerExited, Reason: "Error", ExitCode: &one}},
			"ContainerFailed", "container job ended with exit code 1, and is not restarted",
		},
		"is not ready": {
			[]husk.ContainerStatus{running, {Name: "job", State: husk.ContainerRunning, Reason: "NotReady", Message: "the readiness probe failed: HTTP status 503", Ready: new(false)}},
			"NotReady", "container job is not ready: the readiness probe failed: HTTP status 503",
		},
		"is unhealthy": {
			[]husk.ContainerStatus{{Name: "job", State: husk.ContainerExited, Reason: "Unhealthy", Message: "the liveness probe failed: refused", ExitCode: new(143)}},
			"ContainerFailed", "container job was ended: the liveness probe failed: refused, and is not restarted",
		},
		"is ready": {[]husk.ContainerStatus{{Name: "web", State: husk.ContainerRunning, Ready: new(true)}}, "", ""},
		"is done":  {[]husk.ContainerStatus{running, {Name: "job", State: husk.ContainerExited, Reason: "Completed", ExitCode: &zero}}, "", ""},
	} {
		if reason, message := husk.RunningReason(c.containers); reason != c.reason || message != c.message {
			t.Errorf("%s: %s: %s", name, reason, message)
		}
	}
}

func TestContainersHaveEvents(t *testing.T) {
	t.Parallel()
	one := 1
	status := func(state, reason string, restarts, started, next int) husk.ContainerStatus {
		s := husk.ContainerStatus{Name: "job", State: state, Reason: reason, Restarts: restarts, StartedAt: at(started), ExitCode: &one}
		if next > 0 {
			s.NextStartAt, s.FinishedAt, s.LastReason = at(next), at(next-2), "Error"
		}
		return s
	}
	killed := status(husk.ContainerWaiting, "BackOff", 1, 4, 10)
	killed.LastReason = "OOMKilled"
	failed := husk.ContainerStatus{Name: "job", State: husk.ContainerExited, Reason: "StartError", Message: "exec: not found", ExitCode: &one}
	for _, c := range []struct {
		name          string
		before, after []husk.ContainerStatus
		want          []string
	}{
		{"a start", []husk.ContainerStatus{{Name: "job", State: husk.ContainerWaiting}}, []husk.ContainerStatus{status(husk.ContainerRunning, "", 0, 0, 0)}, []string{"ContainerStarted: container job was started"}},
		{"nothing new", []husk.ContainerStatus{status(husk.ContainerRunning, "", 0, 0, 0)}, []husk.ContainerStatus{status(husk.ContainerRunning, "", 0, 0, 0)}, nil},
		{
			"an end",
			[]husk.ContainerStatus{status(husk.ContainerRunning, "", 0, 0, 0)},
			[]husk.ContainerStatus{status(husk.ContainerWaiting, "BackOff", 0, 0, 3)},
			[]string{"ContainerExited: container job ended with exit code 1", "ContainerBackOff: container job starts again in 2s"},
		},
		{
			"a whole run between two reports",
			[]husk.ContainerStatus{status(husk.ContainerWaiting, "BackOff", 0, 0, 3)},
			[]husk.ContainerStatus{killed},
			[]string{
				"ContainerStarted: container job was started again, restart 1", "ContainerOOMKilled: container job was killed because the pod had no memory left after 1 restart",
				"ContainerBackOff: container job starts again in 2s",
			},
		},
		{"still waiting", []husk.ContainerStatus{status(husk.ContainerWaiting, "BackOff", 0, 0, 3)}, []husk.ContainerStatus{status(husk.ContainerWaiting, "BackOff", 0, 0, 3)}, nil},
		{"a failed start", nil, []husk.ContainerStatus{failed}, []string{"ContainerStartFailed: container job could not be started (exec: not found)"}},
		{"run 101", []husk.ContainerStatus{status(husk.ContainerRunning, "", 101, 0, 0)}, []husk.ContainerStatus{status(husk.ContainerWaiting, "BackOff", 101, 0, 3)}, nil},
	} {
		var got []string
		for _, e := range husk.ContainerEvents(c.before, c.after) {
			got = append(got, fmt.Sprintf("%s: %s", e.Reason, e.Message))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
