package nodeagent

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// countEvery is how often the traffic of the pods is read.
const countEvery = 10 * time.Second

// book brings the journal to what is true: a machine that runs has an open run, and one that does not has none. What happened while no agent
// looked is dated by libvirt's log, or by now where that does not know.
func (a *Agent) book(ctx context.Context, pod uuid.UUID, running bool) error {
	start, open := a.journal.startOf(pod)
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
		a.log.Warn("libvirt's log of a pod cannot be read; its run is dated by now", "pod", pod, "error", err)
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
	if err := a.journal.end(pod, at); err != nil {
		return err
	}
	a.reports.signal()
	return nil
}

// began notes that a machine was started.
func (a *Agent) began(pod uuid.UUID, at time.Time) error {
	if err := a.journal.begin(pod, at); err != nil {
		return err
	}
	a.reports.signal()
	return nil
}

// count notes a pod's traffic.
func (a *Agent) count(pod uuid.UUID) {
	received, sent, ok, err := a.net.Traffic(pod)
	if err != nil {
		a.log.Warn("traffic is not counted now", "pod", pod, "error", err)
		return
	}
	if ok && a.journal.count(pod, received, sent, time.Now()) {
		a.reports.signal()
	}
}

func (a *Agent) countTraffic(ctx context.Context) {
	a.reports.signal() // what an agent before this one has not told
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(countEvery):
		}
		for _, pod := range a.journal.running() {
			a.count(pod)
		}
	}
}
