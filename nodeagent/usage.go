// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// countEvery is how often the traffic of the pods is read.
const countEvery = 10 * time.Second

// recordUsage updates the usage intervals: a running machine has an open interval, and one that
// does not run has none. The time of a change that happened while no agent ran comes from libvirt's
// log, or is the current time if the log does not have it.
func (a *Agent) recordUsage(ctx context.Context, pod uuid.UUID, running bool) error {
	start, open := a.usage.StartOf(pod)
	if running == open {
		return nil
	}
	if running {
		waited, err := a.vms.AwaitStart(ctx, pod)
		if err != nil {
			return err
		}
		if waited {
			return a.began(pod, time.Now())
		}
	}
	started, stopped, err := a.vms.LastLife(pod)
	if err != nil {
		a.log.Warn("cannot read libvirt's log of the pod; its usage interval gets the current time", "pod", pod, "error", err)
	}
	at := time.Now()
	if running {
		if !started.IsZero() && stopped.IsZero() {
			at = started
		}
		return a.began(pod, at)
	}
	if stopped.After(start) && stopped.Before(at) {
		at = stopped
	}
	if err := a.usage.End(pod, at); err != nil {
		return err
	}
	a.reports.signal()
	return nil
}

// began records that a machine was started.
func (a *Agent) began(pod uuid.UUID, at time.Time) error {
	if err := a.usage.Begin(pod, at); err != nil {
		return err
	}
	a.reports.signal()
	return nil
}

// count records a pod's traffic.
func (a *Agent) count(pod uuid.UUID) {
	received, sent, ok, err := a.net.Traffic(pod)
	if err != nil {
		a.log.Warn("cannot read the pod's traffic; retrying", "pod", pod, "error", err)
		return
	}
	if ok && a.usage.Count(pod, received, sent, time.Now()) {
		a.reports.signal()
	}
}

func (a *Agent) countTraffic(ctx context.Context) {
	a.reports.signal() // changes that a previous agent has not reported
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(countEvery):
		}
		for _, pod := range a.usage.Running() {
			a.count(pod)
		}
	}
}
