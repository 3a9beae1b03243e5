// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"cmp"
	"context"
	"sync"
	"time"

	"husk/guest"
)

// look runs the hook after a container's start, and then its probes, until the run ends or is being
// ended: first the startup probe, then the others.
func (p *pod) look(r *run) {
	c := r.container
	if c.PostStart != nil {
		if err := p.machine.act(r.health, *c, r.process, p.spec.Network, c.PostStart.Action); err != nil {
			p.fail(r, p.grace(), guest.ReasonHookFailed, "the hook after the container's start failed: "+err.Error())
			return
		}
	}
	if s := c.StartupProbe; s != nil {
		healthy := false
		p.poll(r, s, func(ok bool, err error) bool {
			if healthy = ok; !ok {
				p.fail(r, graceOf(s, p.grace()), guest.ReasonUnhealthy, "the startup probe failed: "+err.Error())
			}
			return false
		})
		if !healthy {
			return
		}
	}
	p.hasStarted(r)
	var probes sync.WaitGroup
	if l := c.LivenessProbe; l != nil {
		probes.Go(func() {
			p.poll(r, l, func(ok bool, err error) bool {
				if !ok {
					p.fail(r, graceOf(l, p.grace()), guest.ReasonUnhealthy, "the liveness probe failed: "+err.Error())
				}
				return ok
			})
		})
	}
	if c.ReadinessProbe != nil {
		p.poll(r, c.ReadinessProbe, func(ok bool, err error) bool {
			why := ""
			if !ok {
				why = "the readiness probe failed: " + err.Error()
			}
			p.update(func() { p.setReady(r, ok, why) })
			return true
		})
	}
	probes.Wait()
}

func graceOf(probe *guest.Probe, ofPod time.Duration) time.Duration {
	return cmp.Or(time.Duration(probe.GracePeriodSeconds)*time.Second, ofPod)
}

// provesReady reports whether a container has to prove that it is ready after its start.
func provesReady(c *guest.Container) bool {
	return c.PostStart != nil || c.StartupProbe != nil || c.ReadinessProbe != nil
}

// hasStarted publishes that a container has started. Without a readiness probe it is ready.
func (p *pod) hasStarted(r *run) {
	p.update(func() {
		if r.container.ReadinessProbe == nil {
			p.setReady(r, true, "")
		}
		select {
		case <-p.started[r.container.Name]:
		default:
			close(p.started[r.container.Name])
		}
	})
}

// setReady changes the readiness in the status of a run that has not ended. p.mu is held.
func (p *pod) setReady(r *run, ready bool, why string) {
	s := &p.status.Containers[r.index]
	if p.running[r.container.Name] != r || ready && r.ending {
		return
	}
	s.Ready, s.Reason, s.Message = &ready, "", guest.Message(why)
	if !ready && !r.ending {
		s.Reason = guest.ReasonNotReady
	}
}

// fail ends a run because a probe or its hook failed, unless it is being ended.
func (p *pod) fail(r *run, grace time.Duration, reason, message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.health.Err() == nil {
		p.terminate(r, grace, reason, message)
	}
}

// poll repeats a probe. It calls report when the threshold is reached: for the first success and the
// first failure after the start, and for every change after that. It returns when report returns
// false, or when nothing is expected of the run any more.
func (p *pod) poll(r *run, probe *guest.Probe, report func(ok bool, err error) bool) {
	seconds := func(n, or int) time.Duration { return time.Duration(cmp.Or(n, or)) * time.Second }
	period, timeout := seconds(probe.PeriodSeconds, guest.DefaultProbePeriod), seconds(probe.TimeoutSeconds, guest.DefaultProbeTimeout)
	next := r.began.Add(time.Duration(probe.InitialDelaySeconds) * time.Second)
	var reported *bool
	for same, last := 0, false; ; {
		if sleep(r.health, time.Until(next)) != nil {
			return
		}
		next = time.Now().Add(period)
		err := p.probe(r, probe.Action, timeout)
		if r.health.Err() != nil {
			return
		}
		ok := err == nil
		if ok != last {
			same, last = 0, ok
		}
		same++
		threshold := cmp.Or(probe.FailureThreshold, guest.DefaultFailureThreshold)
		if ok {
			threshold = cmp.Or(probe.SuccessThreshold, guest.DefaultSuccessThreshold)
		}
		if same < threshold || reported != nil && *reported == ok {
			continue
		}
		reported = &ok
		if !report(ok, err) {
			return
		}
	}
}

func (p *pod) probe(r *run, a guest.Action, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(r.health, timeout)
	defer cancel()
	return p.machine.act(ctx, *r.container, r.process, p.spec.Network, a)
}
