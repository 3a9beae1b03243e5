// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"husk/guest"
)

// withInit makes the named containers init containers. A policy of Always makes a sidecar.
func withInit(spec guest.Spec, policies map[string]string) guest.Spec {
	for i := range spec.Containers {
		c := &spec.Containers[i]
		if policy, ok := policies[c.Name]; ok {
			c.Init, c.RestartPolicy = true, policy
		}
	}
	spec.GraceMillis = 30_000
	return spec
}

func TestInitContainersRunBeforeTheOthersAndSidecarsUntilTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := fakeRun{lasts: time.Second}
		p, m, spec := newFakePod(guest.RestartNever, map[string][]fakeRun{
			"first": {second}, "proxy": {{ends: exit{code: 143}}}, "logs": {{}}, "second": {second}, "main": {{lasts: 3 * time.Second}},
		}, "first", "proxy", "logs", "second", "main")
		spec = withInit(spec, map[string]string{"first": "", "proxy": guest.RestartAlways, "logs": guest.RestartAlways, "second": ""})
		mustStart(t, p, spec)
		if s := now(p); s.Containers[1].State != guest.StateWaiting || s.Containers[0].State != guest.StateRunning {
			t.Errorf("first is %s, proxy is %s", s.Containers[0].State, s.Containers[1].State)
		}
		time.Sleep(time.Minute)
		if s := now(p); s.Phase != guest.PhaseSucceeded {
			t.Errorf("status is %+v", s)
		}
		want := []string{"start first", "start proxy", "start logs", "start second", "start main", "signal logs", "signal proxy"}
		if diff := cmp.Diff(want, m.log); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
		end(p, m)
	})
}

func TestAFailedInitContainerFollowsThePolicy(t *testing.T) {
	for _, tt := range []struct {
		name, ofPod, own string
		wantPhase        string
		wantRuns         int
	}{
		{"never", guest.RestartNever, "", guest.PhaseFailed, 1},
		{"always", guest.RestartAlways, "", guest.PhaseRunning, 3},
		{"on failure", guest.RestartOnFailure, "", guest.PhaseRunning, 3},
		{"its own", guest.RestartAlways, guest.RestartNever, guest.PhaseFailed, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad := fakeRun{lasts: time.Second, ends: exit{code: 1}}
				p, m, spec := newFakePod(tt.ofPod, map[string][]fakeRun{
					"proxy": {{}}, "init": {bad, bad, {lasts: time.Second}}, "main": {{}},
				}, "proxy", "init", "main")
				mustStart(t, p, withInit(spec, map[string]string{"proxy": guest.RestartAlways, "init": tt.own}))
				time.Sleep(time.Minute)
				s := now(p)
				if s.Phase != tt.wantPhase || m.launched["init"] != tt.wantRuns || (m.launched["main"] > 0) != (tt.wantPhase == guest.PhaseRunning) {
					t.Errorf("phase %s after %d runs of init and %d of main; want %s after %d", s.Phase, m.launched["init"], m.launched["main"], tt.wantPhase, tt.wantRuns)
				}
				if tt.wantPhase == guest.PhaseFailed && s.Containers[0].State == guest.StateRunning {
					t.Error("the sidecar still runs")
				}
				end(p, m)
			})
		})
	}
}

func TestASidecarIsRestartedUntilTheOthersHaveEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, spec := newFakePod(guest.RestartNever, map[string][]fakeRun{
			"proxy": {{lasts: time.Second, ends: exit{code: 1}}}, "main": {{lasts: 9 * time.Second}},
		}, "proxy", "main")
		mustStart(t, p, withInit(spec, map[string]string{"proxy": guest.RestartAlways}))
		time.Sleep(time.Minute)
		if s := now(p); s.Phase != guest.PhaseSucceeded || m.launched["proxy"] != 3 { // at 0, 2 and 5 s
			t.Errorf("phase %s, %d runs of the sidecar", s.Phase, m.launched["proxy"])
		}
		end(p, m)
	})
}

func TestTheNextContainerWaitsForASidecarsStartupProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, spec := newFakePod(guest.RestartNever, map[string][]fakeRun{"proxy": {{}}, "main": {{}}}, "proxy", "main")
		spec = withInit(spec, map[string]string{"proxy": guest.RestartAlways})
		spec.Containers[0].StartupProbe = &guest.Probe{Action: guest.Action{TCPPort: 1}, InitialDelaySeconds: 7}
		mustStart(t, p, spec)
		time.Sleep(6 * time.Second)
		if s := now(p); m.launched["main"] != 0 || *s.Containers[0].Ready {
			t.Errorf("main was launched %d times, %+v", m.launched["main"], s)
		}
		time.Sleep(2 * time.Second)
		if s := now(p); m.launched["main"] != 1 || !*s.Containers[0].Ready {
			t.Errorf("main was launched %d times, %+v", m.launched["main"], s)
		}
		end(p, m)
	})
}

func TestStopEndsSidecarsLastAndWithinTheGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, spec := newFakePod(guest.RestartAlways, map[string][]fakeRun{"proxy": {{deaf: true}}, "main": {{deaf: true}}, "other": {{}}}, "proxy", "main", "other")
		spec = withInit(spec, map[string]string{"proxy": guest.RestartAlways})
		spec.Containers[2].PreStop = &guest.Hook{Action: guest.Action{SleepSeconds: 4}}
		mustStart(t, p, spec)
		began := time.Now()
		p.Stop(10 * time.Second)
		<-m.off
		if since := time.Since(began).Round(time.Second); since != 10*time.Second+lastWord {
			t.Errorf("off after %s", since)
		}
		if got := slices.Index(m.log, "signal other") - slices.Index(m.log, "other sleeps"); got < 1 {
			t.Errorf("log is %v", m.log)
		}
		if c := p.snapshot().Containers[0]; c.Signal != 9 { // main used up the grace period
			t.Errorf("proxy is %+v", c)
		}
	})
}

func TestTheDeadlineFailsThePod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, spec := newFakePod(guest.RestartAlways, map[string][]fakeRun{"main": {{}}, "deaf": {{deaf: true}}}, "main", "deaf")
		spec.DeadlineMillis, spec.GraceMillis = 60_000, 5_000
		mustStart(t, p, spec)
		time.Sleep(64 * time.Second)
		if s := now(p); s.Phase != guest.PhaseRunning || s.Containers[0].State != guest.StateExited || s.Containers[1].State != guest.StateRunning {
			t.Errorf("within the grace period: %+v", s)
		}
		time.Sleep(2 * time.Second)
		if s := now(p); s.Phase != guest.PhaseFailed || s.Reason != guest.ReasonDeadline {
			t.Errorf("status is %+v", s)
		}
		end(p, m)
	})
}
