// SPDX-License-Identifier: Apache-2.0

package podlog

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"husk/guest"
)

// The limits of a budget.
const (
	// Rate limits what a pod writes to the node's disk, in bytes per second, with bursts of Burst:
	// as much as the files of one container keep. finalRate is for the last output of an ended pod,
	// for which the agent does not wait long.
	Rate      = 1 << 20
	Burst     = 2 * MaxFile
	finalRate = 8 << 20
	// pause is how much must be left after a pod has used up its budget before anything is stored
	// again, in bytes. So there is one long gap instead of many short ones.
	pause = 1 << 20
)

// Budget limits what the containers of a pod write to the node's disk.
type Budget struct{ limiter *rate.Limiter }

// NewBudget returns the budget of a pod that has stored nothing yet.
func NewBudget() *Budget { return &Budget{rate.NewLimiter(Rate, Burst)} }

// Live says that the pod runs.
func (b *Budget) Live() { b.limiter.SetLimit(Rate) }

// Last says that the pod has ended, so that its last output is stored quickly.
func (b *Budget) Last() { b.limiter.SetLimit(finalRate) }

// Intake passes the output of one container in one boot on to its log, within the budget of the pod.
type Intake struct {
	log      *Log
	budget   *Budget
	boot     string
	at       uint64
	dropping bool
	dropped  func(bytes uint64)
}

// Intake returns an intake, and the position after which the log has nothing yet. The intake reports
// to dropped how many bytes are missing.
func (l *Log) Intake(boot string, b *Budget, dropped func(bytes uint64)) (*Intake, uint64, error) {
	after, err := l.Bookmark(boot)
	return &Intake{log: l, budget: b, boot: boot, at: after, dropped: dropped}, after, err
}

// maxGap limits what one gap adds to the metric, because a guest can claim any position.
const maxGap = 1 << 30

// Take stores a piece of output, and waits until the budget allows that. If a client gets the
// container's output live, it is not slowed down: what exceeds the budget is not stored.
func (i *Intake) Take(ctx context.Context, e guest.LogEntry) error {
	if gap := e.Start() - i.at; gap > 0 && !e.Lines {
		i.dropped(min(gap, maxGap))
	}
	i.at = e.Seq
	size := (&record{boot: i.boot, bytes: e.Bytes}).size()
	switch live := i.log.Attached(); {
	case !live:
		if err := i.budget.limiter.WaitN(ctx, size); err != nil {
			return err
		}
	case i.dropping && i.budget.limiter.Tokens() < pause, !i.budget.limiter.AllowN(time.Now(), size):
		i.dropping = true
		i.dropped(uint64(len(e.Bytes)))
		return nil
	}
	i.dropping = false
	_, err := i.log.Append(i.boot, e)
	return err
}

// End says that the container's output in this boot has ended. If the last of it is missing, a record
// without bytes shows that.
func (i *Intake) End() error {
	if stored, err := i.log.Bookmark(i.boot); err != nil || stored >= i.at {
		return err
	}
	_, err := i.log.Append(i.boot, guest.LogEntry{Seq: i.at, Time: time.Now(), Stream: guest.Stdout})
	return err
}

// Attach says that a client gets the container's output live, until detach is called.
func (l *Log) Attach() (detach func()) {
	l.live.Add(1)
	return func() { l.live.Add(-1) }
}

// Attached reports whether a client gets the container's output live.
func (l *Log) Attached() bool { return l.live.Load() > 0 }
