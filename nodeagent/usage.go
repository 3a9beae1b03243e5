// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"husk"
)

// countEvery is how often the traffic of the pods is read.
const countEvery = 10 * time.Second

// recordUsage updates the usage intervals: a running machine has an open interval, and one that
// does not run has none. The time of a change that happened while no agent ran comes from libvirt's
// log. If the log does not have it, a machine has ended with the agent that saw it last, and otherwise now.
func (a *Agent) recordUsage(ctx context.Context, pod uuid.UUID, running bool, size *husk.Resources) error {
	start, open := a.usage.StartOf(pod)
	if running == open {
		a.usage.Seen(pod)
		return nil
	}
	if running {
		waited, err := a.vms.AwaitStart(ctx, pod)
		if err != nil {
			return err
		}
		if waited {
			return a.began(pod, time.Now(), size)
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
		return a.began(pod, at, size)
	}
	if stopped.After(start) && stopped.Before(at) {
		at = stopped
	} else if last, unseen := a.usage.LastSign(pod); unseen && last.Before(at) {
		at = last
	}
	if err := a.usage.End(pod, at); err != nil {
		return err
	}
	a.reports.signal()
	return nil
}

// began records that a machine was started.
func (a *Agent) began(pod uuid.UUID, at time.Time, size *husk.Resources) error {
	if err := a.usage.Begin(pod, at, size); err != nil {
		return err
	}
	a.reports.signal()
	return nil
}

// count records the traffic of pods.
func (a *Agent) count(pods ...uuid.UUID) {
	all, err := a.net.Traffic(pods...)
	if err != nil {
		a.log.Warn("cannot read the traffic of pods; retrying", "error", err)
		return
	}
	for pod, t := range all {
		if a.usage.Count(pod, t, time.Now()) {
			a.reports.signal()
		}
	}
}

// setInside tells the network which addresses are inside for the pods in a network.
func (a *Agent) setInside(network uuid.UUID, ranges []netip.Prefix) {
	if err := a.net.SetInside(network, ranges); err != nil {
		a.log.Error("what pods send to addresses outside is not counted until the ranges of their network change", "network", network, "error", err)
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
		a.count(a.usage.Running()...)
		if err := a.usage.Alive(); err != nil {
			a.log.Warn("cannot note that the agent runs; retrying", "error", err)
		}
	}
}
