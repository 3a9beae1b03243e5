// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"cmp"
	"sync"
	"time"

	"husk/guest"
	"husk/guest/become"
	"husk/signals"
)

// supervise runs one container until it has ended for good.
func (p *pod) supervise(i int, spec guest.Spec) {
	wait := newBackoff(spec.RestartBackoff)
	if c := spec.Containers[i]; c.StartOnAttach {
		p.awaitClient(i, p.stdio[c.Name])
	}
	for first := true; ; first = false {
		began := time.Now()
		c := new(spec.Containers[i])
		c.Env = p.env(i)
		r, startFailed := p.begin(i, c, first)
		var again bool
		switch {
		case startFailed != nil && first:
			// Spec and image cannot change, so it can never start.
			p.abort(c.Name, startFailed)
			return
		case startFailed != nil:
			again = restarts(policyOf(c, spec.RestartPolicy), true)
		case r == nil: // stopped before it could start
			return
		default:
			var looking sync.WaitGroup
			looking.Go(func() { p.look(r) })
			ended := r.process.wait()
			again = restarts(policyOf(c, spec.RestartPolicy), p.ended(r, ended))
			looking.Wait()
		}
		if !again || p.exhausted(i, c, spec.RestartPolicy) || !p.rest(i, c, wait.delay(time.Since(began))) {
			return
		}
	}
}

// policyOf returns the restart policy of a container. An init container that has done its work is not
// restarted, whatever the pod's policy is.
func policyOf(c *guest.Container, ofPod string) string {
	switch {
	case c.RestartPolicy != "":
		return c.RestartPolicy
	case c.Init && ofPod == guest.RestartAlways:
		return guest.RestartOnFailure
	default:
		return ofPod
	}
}

// clientWait is how long a container with StartOnAttach waits for a client.
const clientWait = time.Minute

// awaitClient waits until a client has attached to the container, none has for too long, or the pod is
// being stopped.
func (p *pod) awaitClient(i int, s *stdio) {
	p.update(func() { p.status.Containers[i].Reason = guest.ReasonNoClient })
	timer := time.NewTimer(clientWait)
	defer timer.Stop()
	select {
	case <-s.joined:
	case <-timer.C:
	case <-p.stop:
	}
	p.update(func() { p.status.Containers[i].Reason = "" })
}

// restarts reports whether the policy requires another run after one that ended well or badly.
func restarts(policy string, failed bool) bool {
	return policy == guest.RestartAlways || policy == guest.RestartOnFailure && failed
}

// exhausted reports whether the container was restarted as often as its policy allows. An earlier boot does not count.
func (p *pod) exhausted(i int, c *guest.Container, ofPod string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.MaxRestarts > 0 && policyOf(c, ofPod) == guest.RestartOnFailure && p.status.Containers[i].Restarts >= c.MaxRestarts
}

// begin starts a run and publishes it. It returns neither a run nor an error if the container may not
// start any more.
func (p *pod) begin(i int, c *guest.Container, first bool) (*run, *become.StartError) {
	if !p.mayStart(c) {
		return nil, nil
	}
	signal, err := signals.Parse(c.StopSignal)
	if err != nil { // already validated
		return nil, &become.StartError{Code: 126, Message: err.Error()}
	}
	proc, failed := p.machine.launch(*c, p.stdio[c.Name])
	var r *run
	p.update(func() {
		s := &p.status.Containers[i]
		if !first {
			s.Restarts++
		}
		s.NextRestartAt, s.LastReason = time.Time{}, ""
		if failed != nil {
			now, code := time.Now(), failed.Code
			s.State, s.Reason, s.Message = guest.StateExited, guest.ReasonStartError, guest.Message(failed.Message)
			s.ExitCode, s.Signal, s.OOMKilled, s.LastExitCode = code, 0, false, &code
			s.StartedAt, s.FinishedAt = time.Time{}, now
			return
		}
		r = newRun(i, c, proc, signal)
		s.State, s.Reason, s.Message, s.StartedAt, s.Ready = guest.StateRunning, "", "", r.began, new(true)
		if provesReady(c) {
			s.Ready, s.Reason = new(false), guest.ReasonNotReady
		}
		s.ExitCode, s.Signal, s.OOMKilled, s.FinishedAt = 0, 0, false, time.Time{}
		p.running[c.Name] = r
		if !p.mayStart(c) {
			// It started after the others were told to end. It has done nothing yet, and probably
			// has no signal handler yet.
			proc.kill()
		}
	})
	return r, failed
}

// ended publishes the end of a run and reports whether it ended badly.
func (p *pod) ended(r *run, e exit) (bad bool) {
	fallback := ""
	if e.message == "" && e.code != 0 && r.container.TerminationMessageFromLog {
		fallback = lastLines(p.stdio[r.container.Name].log)
	}
	p.update(func() {
		delete(p.running, r.container.Name)
		s := &p.status.Containers[r.index]
		s.Ready = new(false)
		s.State, s.Message, s.FinishedAt = guest.StateExited, guest.Message(cmp.Or(e.message, fallback)), time.Now()
		s.ExitCode, s.Signal, s.OOMKilled, s.LastExitCode = e.code, e.signal, e.oomKilled, &e.code
		switch {
		case r.reason != "":
			s.Reason, s.Message = r.reason, guest.Message(r.message)
		case e.oomKilled:
			s.Reason = guest.ReasonOOMKilled
		case e.code != 0:
			s.Reason = guest.ReasonError
		default:
			s.Reason = guest.ReasonCompleted
		}
		if s.Message == "" && r.hookError != nil {
			s.Message = guest.Message("the hook before the container's stop failed: " + r.hookError.Error())
		}
		bad = failed(*s)
	})
	r.end()
	return bad
}

// rest waits for the next restart. It returns false if there will be none; the container's state is
// then set back to exited.
func (p *pod) rest(i int, c *guest.Container, d time.Duration) bool {
	var before guest.ContainerStatus
	p.update(func() {
		s := &p.status.Containers[i]
		before = *s
		s.State, s.NextRestartAt, s.LastReason = guest.StateWaiting, time.Now().Add(d), s.Reason
		// The reason of a start error stays visible while the start is retried.
		if s.Reason != guest.ReasonStartError {
			s.Reason = guest.ReasonBackOff
		}
	})
	timer := time.NewTimer(d)
	defer timer.Stop()
	over := p.over
	if !c.Sidecar() {
		over = nil
	}
	select {
	case <-timer.C:
		return true
	case <-p.stop:
	case <-over:
	}
	p.update(func() { p.status.Containers[i] = before })
	return false
}

// abort fails the pod because a container can never start, and ends the other containers.
func (p *pod) abort(name string, e *become.StartError) {
	p.update(func() {
		if !p.stopping {
			p.status.Phase, p.status.Error = guest.PhaseFailed, "container "+name+": "+guest.Message(e.Message)
		}
		p.endContainers(abortGrace)
	})
}

// backoff counts the delay before a container's next restart.
type backoff struct {
	base, max, reset time.Duration
	next             time.Duration
}

func newBackoff(b guest.Backoff) *backoff {
	ms := func(n int64, or time.Duration) time.Duration { return cmp.Or(time.Duration(n)*time.Millisecond, or) }
	return &backoff{
		base:  ms(b.BaseMillis, guest.DefaultBackoffBase),
		max:   ms(b.MaxMillis, guest.DefaultBackoffMax),
		reset: ms(b.ResetAfterMillis, guest.DefaultBackoffReset),
	}
}

// delay returns how long to wait after a run of the given duration.
func (b *backoff) delay(ran time.Duration) time.Duration {
	if b.next == 0 || ran >= b.reset {
		b.next = b.base
	}
	d := min(b.next, b.max)
	b.next = min(2*b.next, b.max)
	return d
}
