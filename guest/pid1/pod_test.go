// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"husk/guest"
	"husk/guest/become"
)

// fakeMachine runs containers that follow a test's script.
type fakeMachine struct {
	mu       sync.Mutex
	script   map[string][]fakeRun // by container, one per run; the last one repeats
	launched map[string]int
	env      map[string][]string // of the last run
	files    map[string][]guest.File
	prepared error
	released error
	off      chan struct{}
	// acts answers a probe or a hook; nil succeeds at once.
	acts func(ctx context.Context, c string, a guest.Action) error
	log  []string // starts, signals and actions, in their order
}

func (m *fakeMachine) note(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = append(m.log, what)
}

func (m *fakeMachine) act(ctx context.Context, c guest.Container, _ process, _ *guest.Network, a guest.Action) error {
	if a.SleepSeconds > 0 {
		m.note(c.Name + " sleeps")
		return sleep(ctx, time.Duration(a.SleepSeconds)*time.Second)
	}
	if m.acts == nil {
		return nil
	}
	return m.acts(ctx, c.Name, a)
}

// fakeRun describes one run of a container.
type fakeRun struct {
	fails *become.StartError
	lasts time.Duration // 0: until it is signalled or killed
	ends  exit
	// deaf means that the container ignores the stop signal.
	deaf bool
}

func (m *fakeMachine) prepare(context.Context, guest.Spec) error { return m.prepared }
func (m *fakeMachine) release() error                            { return m.released }
func (m *fakeMachine) freeze(string) error                       { return nil }
func (m *fakeMachine) thaw(string) error                         { return nil }
func (m *fakeMachine) resize(context.Context, int) error         { return nil }
func (m *fakeMachine) grow(context.Context, string, int64) error { return nil }
func (m *fakeMachine) adjustClock(time.Duration) error           { return nil }
func (m *fakeMachine) powerOff()                                 { close(m.off) }

func (m *fakeMachine) exec(guest.Container, process, guest.Exec, guest.Accept) error { return nil }
func (m *fakeMachine) forward(*guest.Network, int, guest.Accept) error               { return nil }
func (m *fakeMachine) copyOut(process, guest.Copy, guest.Accept) error               { return nil }
func (m *fakeMachine) copyIn(guest.Container, process, guest.Copy, guest.Accept) error {
	return nil
}

func (m *fakeMachine) update(volume string, files []guest.File) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[volume] = files
	return nil
}
func (m *fakeMachine) stats(map[string]process) guest.Stats { return guest.Stats{} }

func (m *fakeMachine) launch(c guest.Container, _ *stdio) (process, *become.StartError) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.env[c.Name] = c.Env
	runs := m.script[c.Name]
	r := runs[min(m.launched[c.Name], len(runs)-1)]
	m.launched[c.Name]++
	if r.fails != nil {
		return nil, r.fails
	}
	m.log = append(m.log, "start "+c.Name)
	return &fakeProcess{machine: m, name: c.Name, run: r, signalled: make(chan exit, 8)}, nil
}

type fakeProcess struct {
	machine   *fakeMachine
	name      string
	run       fakeRun
	signalled chan exit
}

func (p *fakeProcess) signal(int) {
	p.machine.note("signal " + p.name)
	if !p.run.deaf {
		p.signalled <- p.run.ends
	}
}
func (p *fakeProcess) kill() { p.signalled <- exit{code: 137, signal: 9} }

func (p *fakeProcess) wait() exit {
	var timer <-chan time.Time
	if p.run.lasts > 0 {
		timer = time.After(p.run.lasts)
	}
	select {
	case <-timer:
		return p.run.ends
	case e := <-p.signalled:
		return e
	}
}

func newFakePod(policy string, script map[string][]fakeRun, names ...string) (*pod, *fakeMachine, guest.Spec) {
	m := &fakeMachine{script: script, launched: map[string]int{}, env: map[string][]string{}, files: map[string][]guest.File{}, off: make(chan struct{})}
	spec := guest.Spec{PodID: "p", Hostname: "p", RestartPolicy: policy}
	for _, n := range names {
		spec.Containers = append(spec.Containers, guest.Container{Name: n, ImageSerial: "i", Args: []string{"x"}})
	}
	return newPod(m, "boot", func() guest.Hello { return guest.Hello{} }), m, spec
}

func mustStart(t *testing.T, p *pod, spec guest.Spec) {
	t.Helper()
	if _, err := p.Start(spec); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func now(p *pod) guest.Status {
	synctest.Wait()
	return p.WaitStatus(context.Background(), 0)
}

// end stops the pod, so that no goroutine is left.
func end(p *pod, m *fakeMachine) {
	p.Stop(0)
	<-m.off
}

func TestPhaseFollowsPolicyAndExitCodes(t *testing.T) {
	for _, tt := range []struct {
		policy    string
		codes     []int // of the runs, one second each
		most      int   // restarts
		wantPhase string
		wantRuns  int
	}{
		{guest.RestartNever, []int{0}, 0, guest.PhaseSucceeded, 1},
		{guest.RestartNever, []int{3}, 0, guest.PhaseFailed, 1},
		{guest.RestartOnFailure, []int{0}, 0, guest.PhaseSucceeded, 1},
		{guest.RestartOnFailure, []int{1, 1, 0}, 0, guest.PhaseSucceeded, 3},
		{guest.RestartOnFailure, []int{1, 1, 0}, 2, guest.PhaseSucceeded, 3},
		{guest.RestartOnFailure, []int{1, 1, 0}, 1, guest.PhaseFailed, 2},
		{guest.RestartAlways, []int{0}, 0, guest.PhaseRunning, 7}, // after 1+2+4+8+16+32 s and 7 runs of 1 s
	} {
		synctest.Test(t, func(t *testing.T) {
			var runs []fakeRun
			for _, code := range tt.codes {
				runs = append(runs, fakeRun{lasts: time.Second, ends: exit{code: code}})
			}
			p, m, spec := newFakePod(tt.policy, map[string][]fakeRun{"a": runs}, "a")
			spec.Containers[0].MaxRestarts = tt.most
			mustStart(t, p, spec)
			time.Sleep(100 * time.Second)
			s := now(p)
			if s.Phase != tt.wantPhase || m.launched["a"] != tt.wantRuns || s.Containers[0].Restarts != tt.wantRuns-1 {
				t.Errorf("%s %v: phase %s after %d runs, %d restarts; want %s after %d", tt.policy, tt.codes,
					s.Phase, m.launched["a"], s.Containers[0].Restarts, tt.wantPhase, tt.wantRuns)
			}
			end(p, m)
		})
	}
}

func TestBackoffGrowsAndResets(t *testing.T) {
	t.Parallel()
	b := newBackoff(guest.Backoff{})
	var got []time.Duration
	for range 10 {
		got = append(got, b.delay(time.Second))
	}
	got = append(got, b.delay(guest.DefaultBackoffReset), b.delay(0))
	s := time.Second
	want := []time.Duration{1 * s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 64 * s, 128 * s, 256 * s, 300 * s, 1 * s, 2 * s}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("delays (-want +got):\n%s", diff)
	}
}

func TestWaitingContainerShowsItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, spec := newFakePod(guest.RestartAlways, map[string][]fakeRun{"a": {{lasts: time.Second, ends: exit{code: 5}}}}, "a")
		mustStart(t, p, spec)
		time.Sleep(1500 * time.Millisecond)
		s := now(p)
		c := s.Containers[0]
		if c.State != guest.StateWaiting || c.Reason != guest.ReasonBackOff || c.LastExitCode == nil || *c.LastExitCode != 5 ||
			!c.NextRestartAt.Equal(c.FinishedAt.Add(time.Second)) {
			t.Errorf("container is %+v", c)
		}
		end(p, m)
		if c := p.snapshot().Containers[0]; c.State != guest.StateExited || c.ExitCode != 5 || c.Reason != guest.ReasonError {
			t.Errorf("stopped while waiting: %+v; want it exited as before", c)
		}
	})
}

func TestAFirstStartErrorFailsThePod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, spec := newFakePod(guest.RestartAlways, map[string][]fakeRun{
			"good": {{ends: exit{code: 0}}}, "deaf": {{deaf: true}}, "bad": {{fails: &become.StartError{Code: 127, Message: "not found"}}},
		}, "good", "deaf", "bad")
		mustStart(t, p, spec)
		time.Sleep(abortGrace)
		s := now(p)
		if s.Phase != guest.PhaseFailed || s.Error != "container bad: not found" {
			t.Errorf("phase %s, error %q", s.Phase, s.Error)
		}
		for _, c := range s.Containers {
			if c.State == guest.StateRunning {
				t.Errorf("%s is still running", c.Name)
			}
		}
		if c := s.Containers[2]; c.Reason != guest.ReasonStartError || c.ExitCode != 127 {
			t.Errorf("bad is %+v", c)
		}
		end(p, m)
	})
}

func TestALaterStartErrorIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, spec := newFakePod(guest.RestartOnFailure, map[string][]fakeRun{"a": {
			{lasts: time.Second, ends: exit{code: 1}},
			{fails: &become.StartError{Code: 126, Message: "no memory"}},
			{lasts: time.Second, ends: exit{code: 0}},
		}}, "a")
		mustStart(t, p, spec)
		time.Sleep(time.Minute)
		if s := now(p); s.Phase != guest.PhaseSucceeded || s.Containers[0].Restarts != 2 {
			t.Errorf("status is %+v", s)
		}
		end(p, m)
	})
}

func TestStopWaitsForGraceThenKills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, spec := newFakePod(guest.RestartAlways, map[string][]fakeRun{"polite": {{ends: exit{code: 4}}}, "deaf": {{deaf: true}}}, "polite", "deaf")
		mustStart(t, p, spec)
		began := time.Now()
		p.Stop(time.Hour)
		time.Sleep(time.Minute)
		if s := now(p); s.Phase != guest.PhaseStopping || s.Stopped || s.Containers[0].ExitCode != 4 || s.Containers[1].State != guest.StateRunning {
			t.Errorf("within the grace period: %+v", s)
		}
		p.Stop(2 * time.Hour) // cannot prolong
		p.Stop(time.Minute)   // can shorten
		time.Sleep(time.Minute)
		s := now(p)
		if !s.Stopped || s.Containers[1].Signal != 9 || time.Since(began) > 3*time.Minute {
			t.Errorf("after the grace period: %+v", s)
		}
		p.Delivered(s.Revision)
		delivered := time.Now()
		<-m.off
		if since := time.Since(delivered); since > lastBytes {
			t.Errorf("power off %v after the status was read", since)
		}
	})
}

func TestPowerOffDoesNotWaitForeverForAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, _ := newFakePod(guest.RestartAlways, nil)
		m.released = errors.New("volume v: busy")
		began := time.Now()
		p.Stop(time.Second)
		<-m.off
		if since := time.Since(began); since != lastWord {
			t.Errorf("power off after %v; want %v", since, lastWord)
		}
		if got := p.snapshot().Error; got != "volume v: busy" {
			t.Errorf("error is %q", got)
		}
		var refused *guest.CallError
		if _, err := p.Start(guest.Spec{}); !errors.As(err, &refused) || refused.Code != guest.CodeStopping {
			t.Errorf("start after stop: %v", err)
		}
	})
}

func TestPrepareFailureFailsThePod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, spec := newFakePod(guest.RestartAlways, nil, "a")
		m.prepared = errors.New("disk x: not attached")
		mustStart(t, p, spec)
		if s := now(p); s.Phase != guest.PhaseFailed || s.Error != "disk x: not attached" {
			t.Errorf("status is %+v", s)
		}
		if err := p.Logs(t.Context(), "a", 0, true, nil); err != nil { // ends at once
			t.Errorf("logs: %v", err)
		}
		end(p, m)
	})
}

func TestStartIsIdempotent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, spec := newFakePod(guest.RestartNever, map[string][]fakeRun{"a": {{}}}, "a")
		mustStart(t, p, spec)
		mustStart(t, p, spec)
		if m.launched["a"] != 1 {
			t.Errorf("launched %d times", m.launched["a"])
		}
		spec.Generation = 9
		var refused *guest.CallError
		if _, err := p.Start(spec); !errors.As(err, &refused) || refused.Code != guest.CodeConflict {
			t.Errorf("another spec: %v; want a conflict", err)
		}
		end(p, m)
	})
}

func TestValuesOfARunningPodChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, spec := newFakePod(guest.RestartAlways, map[string][]fakeRun{"a": {{lasts: time.Second}}}, "a")
		spec.Volumes = []guest.Volume{{Name: "config", FSType: guest.FilesType, Files: []guest.File{{Path: "x", Content: []byte("1")}}}}
		spec.Containers[0].Env = []string{"A=1"}
		if err := p.Update(t.Context(), guest.Values{}); err == nil {
			t.Error("values of a pod that was not started have changed")
		}
		mustStart(t, p, spec)
		defer end(p, m)
		changed := guest.Values{
			Env:   map[string][]string{"a": {"A=2"}},
			Files: map[string][]guest.File{"config": {{Path: "x", Content: []byte("2")}}},
		}
		if err := p.Update(t.Context(), changed); err != nil {
			t.Fatal(err)
		}
		m.mu.Lock()
		if got := m.env["a"][0]; got != "A=1" {
			t.Errorf("the running container was started with %s", got)
		}
		if got := string(m.files["config"][0].Content); got != "2" {
			t.Errorf("the file has %q", got)
		}
		m.mu.Unlock()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		m.mu.Lock()
		if got := m.env["a"][0]; got != "A=2" {
			t.Errorf("the container was started again with %s", got)
		}
		m.mu.Unlock()
		for _, bad := range []guest.Values{
			{Env: map[string][]string{"b": nil}},
			{Env: map[string][]string{"a": {"=x"}}},
			{Files: map[string][]guest.File{"other": nil}},
			{Files: map[string][]guest.File{"config": {{Path: "../x"}}}},
			{Files: map[string][]guest.File{"config": {{Path: "/etc/x"}}}},
		} {
			if err := p.Update(t.Context(), bad); err == nil {
				t.Errorf("%v was accepted", bad)
			}
		}
		if s, err := p.Start(spec); err != nil || s.Phase != guest.PhaseRunning {
			t.Errorf("the spec of the start is refused after an update: %v", err)
		}
	})
}
