// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"time"

	"github.com/google/uuid"

	"husk/guest"
)

const (
	// clockEvery is how often the agent looks for machines that are paused. The clock of a guest stands still meanwhile.
	clockEvery = time.Second
	// clockTolerance is how far the clock of a guest may be off.
	clockTolerance = 500 * time.Millisecond
	// slept is the time between two looks after which the node itself was asleep, and all its guests with it.
	slept = 5 * time.Second
)

// clockLoop sets the clocks of guests whose machines have been paused. Clocks are also checked with every sample, and when the agent connects.
func (a *Agent) clockLoop(ctx context.Context) {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	paused, last := map[uuid.UUID]bool{}, time.Now().Round(0) // without the monotonic clock, which stands still when the node sleeps
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := a.vms.Paused(ctx)
		if err != nil {
			if ctx.Err() == nil {
				a.log.Warn("cannot see which machines are paused; retrying", "error", err)
			}
			continue
		}
		awake := time.Now().Round(0)
		for _, w := range a.resumed(paused, now, awake.Sub(last) > slept) {
			go w.askGuest(ctx) // it ends after guestPatience
		}
		paused, last = now, awake
	}
}

// resumed returns the workers of machines that were paused and are not any more, or of all.
func (a *Agent) resumed(before, now map[uuid.UUID]bool, all bool) []*worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	var workers []*worker
	for id, w := range a.workers {
		if all || before[id] && !now[id] {
			workers = append(workers, w)
		}
	}
	return workers
}

// setClock corrects the clock of a guest that has said what time it is, between two moments of the node's clock. The guest adds the difference to
// its clock, so the correction is right however long it takes to arrive.
func (w *worker) setClock(ctx context.Context, c *guest.Client, said guest.Stats, asked, answered time.Time) {
	off := clockError(said.At, asked, answered)
	if off == 0 {
		return
	}
	if err := c.AdjustClock(ctx, -off, said); err != nil {
		w.log.Debug("the clock of the guest is wrong, and it did not correct it", "off", off, "error", err)
		return
	}
	w.log.Info("corrected the clock of the guest", "off", off)
}

// clockError returns by how much a clock is off, or 0 if that is little, or little compared with the time that the answer took.
func clockError(said, asked, answered time.Time) time.Duration {
	took := answered.Sub(asked)
	off := said.Sub(asked.Add(took / 2))
	if off.Abs() < clockTolerance+took/2 {
		return 0
	}
	return off
}
