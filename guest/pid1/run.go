// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"context"
	"time"

	"husk/guest"
)

// run is a container's current process.
type run struct {
	index      int
	container  *guest.Container
	process    process
	stopSignal int
	began      time.Time
	// life ends when the process has ended. health ends earlier, when husk-init begins to end it: then
	// nothing is expected of it any more.
	life, health context.Context
	end, resign  context.CancelFunc

	// Protected by the pod's mu.
	ending          bool
	reason, message string // why husk-init ended it; empty if the pod is being stopped
	hookError       error  // of the hook before its stop
}

func newRun(i int, c *guest.Container, p process, stopSignal int) *run {
	r := &run{index: i, container: c, process: p, stopSignal: stopSignal, began: time.Now()}
	r.life, r.end = context.WithCancel(context.Background())
	r.health, r.resign = context.WithCancel(r.life)
	return r
}

// terminate ends a run in the background: the hook before its stop, then its stop signal, then
// SIGKILL after the grace period. A second call changes nothing. p.mu is held.
func (p *pod) terminate(r *run, grace time.Duration, reason, message string) {
	if r.ending {
		return
	}
	r.ending, r.reason, r.message = true, reason, message
	r.resign()
	p.setReady(r, false, "")
	p.publish()
	if r.container.PreStop == nil {
		r.process.signal(r.stopSignal)
	}
	go func() {
		deadline := time.NewTimer(grace)
		defer deadline.Stop()
		if r.container.PreStop != nil {
			go p.beforeStop(r, grace)
		}
		select {
		case <-r.life.Done():
		case <-deadline.C:
			r.process.kill()
		}
	}()
}

// beforeStop runs the hook before a container's stop, and then signals the container.
func (p *pod) beforeStop(r *run, grace time.Duration) {
	ctx, cancel := context.WithTimeout(r.life, grace)
	defer cancel()
	err := p.machine.act(ctx, *r.container, r.process, p.spec.Network, r.container.PreStop.Action)
	if r.life.Err() != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r.hookError = err
	if ctx.Err() == nil { // otherwise the grace period is over
		r.process.signal(r.stopSignal)
	}
}
