// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"cmp"
	"time"

	"husk/guest"
	"husk/signals"
)

// supervise runs one container until it has ended for good.
func (p *pod) supervise(i int, spec guest.Spec) {
	c := spec.Containers[i]
	wait := newBackoff(spec.RestartBackoff)
	if c.StartOnAttach {
		p.awaitClient(i, p.stdio[c.Name])
	}
	for first := true; ; first = false {
		began := time.Now()
		c.Env = p.env(i)
		proc, failed := p.begin(i, c, first)
		var ended exit
		switch {
		case failed != nil && first:
			// Spec and image cannot change, so it can never start.
			p.abort(c.Name, failed)
			return
		case failed != nil:
			ended = exit{code: failed.Code}
		case proc == nil: // stopped before it could start
			return
		default:
			ended = proc.wait()
			p.ended(i, c.Name, ended)
		}
		if !restarts(spec.RestartPolicy, ended) || !p.rest(i, wait.delay(time.Since(began))) {
			return
		}
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

// restarts reports whether the policy requires another run after this one.
func restarts(policy string, ended exit) bool {
	return policy == guest.RestartAlways || policy == guest.RestartOnFailure && ended.code != 0
}

// begin starts a run and publishes it. It returns neither a process nor an error if the pod is being stopped.
func (p *pod) begin(i int, c guest.Container, first bool) (process, *startError) {
	select {
	case <-p.stop:
		return nil, nil
	default:
	}
	signal, err := signals.Parse(c.StopSignal)
	if err != nil { // already validated
		return nil, &startError{Code: 126, Message: err.Error()}
	}
	proc, failed := p.machine.launch(c, p.stdio[c.Name])
	p.update(func() {
		s := &p.status.Containers[i]
		if !first {
			s.Restarts++
		}
		s.NextRestartAt = time.Time{}
		if failed != nil {
			now, code := time.Now(), failed.Code
			s.State, s.Reason, s.Message = guest.StateExited, guest.ReasonStartError, failed.Message
			s.ExitCode, s.Signal, s.OOMKilled, s.LastExitCode = code, 0, false, &code
			s.StartedAt, s.FinishedAt = time.Time{}, now
			return
		}
		s.State, s.Reason, s.Message, s.StartedAt = guest.StateRunning, "", "", time.Now()
		s.ExitCode, s.Signal, s.OOMKilled, s.FinishedAt = 0, 0, false, time.Time{}
		p.running[c.Name] = &run{process: proc, stopSignal: signal}
		select {
		case <-p.stop:
			// It started after the others were told to end. It has done nothing yet, and probably
			// has no signal handler yet.
			proc.kill()
		default:
		}
	})
	return proc, failed
}

// ended publishes the end of a run.
func (p *pod) ended(i int, name string, e exit) {
	p.update(func() {
		delete(p.running, name)
		s := &p.status.Containers[i]
		s.State, s.Message, s.FinishedAt = guest.StateExited, "", time.Now()
		s.ExitCode, s.Signal, s.OOMKilled, s.LastExitCode = e.code, e.signal, e.oomKilled, &e.code
		switch {
		case e.oomKilled:
			s.Reason = guest.ReasonOOMKilled
		case e.code != 0:
			s.Reason = guest.ReasonError
		default:
			s.Reason = guest.ReasonCompleted
		}
	})
}

// rest waits for the next restart. It returns false if there will be none; the container's state is
// then set back to exited.
func (p *pod) rest(i int, d time.Duration) bool {
	var before guest.ContainerStatus
	p.update(func() {
		s := &p.status.Containers[i]
		before = *s
		s.State, s.NextRestartAt = guest.StateWaiting, time.Now().Add(d)
		// The reason of a start error stays visible while the start is retried.
		if s.Reason != guest.ReasonStartError {
			s.Reason = guest.ReasonBackOff
		}
	})
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.stop:
		p.update(func() { p.status.Containers[i] = before })
		return false
	}
}

// abort fails the pod because a container can never start, and ends the other containers.
func (p *pod) abort(name string, e *startError) {
	p.update(func() {
		if !p.stopping {
			p.status.Phase, p.status.Error = guest.PhaseFailed, "container "+name+": "+e.Message
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
