// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"husk/guest"
)

// health answers probes by the seconds since the start of the test.
func health(began time.Time, answers map[int]func(second int) bool) func(context.Context, string, guest.Action) error {
	return func(_ context.Context, _ string, a guest.Action) error {
		if !answers[a.TCPPort](int(time.Since(began).Seconds())) {
			return errors.New("refused")
		}
		return nil
	}
}

func tcp(n int) guest.Action { return guest.Action{TCPPort: n} }

func TestReadinessFollowsItsProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, spec := newFakePod(guest.RestartAlways, map[string][]fakeRun{"a": {{}}}, "a")
		spec.Containers[0].ReadinessProbe = &guest.Probe{Action: tcp(1), PeriodSeconds: 1, FailureThreshold: 2, SuccessThreshold: 2}
		m.acts = health(time.Now(), map[int]func(int) bool{1: func(s int) bool { return s >= 5 && s != 8 && s < 12 }})
		mustStart(t, p, spec)
		var got strings.Builder
		for range 16 {
			time.Sleep(time.Second)
			c := now(p).Containers[0]
			switch {
			case *c.Ready && c.Reason == "" && c.Message == "":
				got.WriteByte('+')
			case c.Reason == guest.ReasonNotReady && c.Message == "":
				got.WriteByte('.')
			case c.Reason == guest.ReasonNotReady && c.Message == "the readiness probe failed: refused":
				got.WriteByte('-')
			default:
				t.Errorf("container is %+v", c)
			}
		}
		if want := "-----+++++++----"; got.String() != want { // one failure at second 8 does not matter
			t.Errorf("readiness is %s; want %s", got.String(), want)
		}
		end(p, m)
	})
}

func TestAFailedProbeRestartsTheContainer(t *testing.T) {
	for _, tt := range []struct {
		name, policy string
		change       func(*guest.Container)
		want         string // the reason of the first end
		wantRuns     int
	}{
		{"liveness", guest.RestartAlways, func(c *guest.Container) {
			c.LivenessProbe = &guest.Probe{Action: tcp(1), InitialDelaySeconds: 3, PeriodSeconds: 1}
		}, guest.ReasonUnhealthy, 2},
		{"an exit code of 0 is a failure", guest.RestartOnFailure, func(c *guest.Container) {
			c.LivenessProbe = &guest.Probe{Action: tcp(1), InitialDelaySeconds: 3, PeriodSeconds: 1}
		}, guest.ReasonUnhealthy, 2},
		{"startup", guest.RestartNever, func(c *guest.Container) {
			c.StartupProbe = &guest.Probe{Action: tcp(1), PeriodSeconds: 2, FailureThreshold: 3}
		}, guest.ReasonUnhealthy, 1},
		{"liveness waits for startup", guest.RestartNever, func(c *guest.Container) {
			c.StartupProbe = &guest.Probe{Action: tcp(2), PeriodSeconds: 1, FailureThreshold: 10}
			c.LivenessProbe = &guest.Probe{Action: tcp(1), PeriodSeconds: 1, FailureThreshold: 1}
		}, guest.ReasonUnhealthy, 1},
		{"hook", guest.RestartNever, func(c *guest.Container) { c.PostStart = &guest.Hook{Action: tcp(1)} }, guest.ReasonHookFailed, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, m, spec := newFakePod(tt.policy, map[string][]fakeRun{"a": {{ends: exit{code: 0}}, {}}}, "a")
				spec.RestartBackoff.BaseMillis = 60_000
				tt.change(&spec.Containers[0])
				m.acts = health(time.Now(), map[int]func(int) bool{
					1: func(s int) bool { return s > 20 }, 2: func(s int) bool { return s >= 4 },
				})
				mustStart(t, p, spec)
				time.Sleep(10 * time.Second)
				c := now(p).Containers[0]
				reason := c.Reason
				if tt.policy != guest.RestartNever {
					if reason != guest.ReasonBackOff || !strings.Contains(c.Message, "probe failed: refused") {
						t.Errorf("before the restart: %+v", c)
					}
					reason = tt.want
				}
				if reason != tt.want || c.State == guest.StateRunning || *c.Ready {
					t.Errorf("container is %+v; want it ended with %s", c, tt.want)
				}
				time.Sleep(time.Minute)
				if m.launched["a"] != tt.wantRuns {
					t.Errorf("%d runs; want %d", m.launched["a"], tt.wantRuns)
				}
				if s := now(p); tt.policy == guest.RestartNever && s.Phase != guest.PhaseFailed {
					t.Errorf("phase is %s", s.Phase)
				}
				end(p, m)
			})
		})
	}
}

func TestAnUnhealthyContainerIsKilledAfterTheGraceOfTheProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, spec := newFakePod(guest.RestartNever, map[string][]fakeRun{"a": {{deaf: true}}}, "a")
		spec.GraceMillis = 600_000
		spec.Containers[0].LivenessProbe = &guest.Probe{Action: tcp(1), FailureThreshold: 1, GracePeriodSeconds: 2}
		m.acts = health(time.Now(), map[int]func(int) bool{1: func(int) bool { return false }})
		mustStart(t, p, spec)
		time.Sleep(time.Second)
		if s := now(p); s.Containers[0].State != guest.StateRunning {
			t.Errorf("status is %+v", s)
		}
		time.Sleep(2 * time.Second)
		if c := now(p).Containers[0]; c.Signal != 9 || c.Reason != guest.ReasonUnhealthy || c.Message != "the liveness probe failed: refused" {
			t.Errorf("container is %+v", c)
		}
		end(p, m)
	})
}

func TestHooksRunBeforeTheStopSignalAndWithinTheGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, spec := newFakePod(guest.RestartAlways, map[string][]fakeRun{"a": {{}}, "slow": {{}}}, "a", "slow")
		spec.Containers[0].PreStop = &guest.Hook{Action: guest.Action{SleepSeconds: 5}}
		spec.Containers[1].PreStop = &guest.Hook{Action: guest.Action{SleepSeconds: 500}}
		mustStart(t, p, spec)
		p.Stop(20 * time.Second)
		time.Sleep(4 * time.Second)
		if s := now(p); s.Containers[0].State != guest.StateRunning || *s.Containers[0].Ready {
			t.Errorf("during the hook: %+v", s)
		}
		time.Sleep(2 * time.Second)
		if s := now(p); s.Containers[0].State != guest.StateExited || s.Containers[1].State != guest.StateRunning {
			t.Errorf("after the hook: %+v", s)
		}
		<-m.off
		if c := p.snapshot().Containers[1]; c.Signal != 9 {
			t.Errorf("slow is %+v", c)
		}
	})
}
