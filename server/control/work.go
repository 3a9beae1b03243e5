// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/store"
)

// Delays before the leader retries work that failed: the first, doubled with each attempt up to the longest. After stuckAfter attempts, the
// work is stuck: metrics and an alert show it, and the leader retries it only every stuckRetry.
//
// Something that is in use is free again as soon as its user is gone. After the death of a client of Ceph, that takes half a minute, and several
// removals may wait for each other. So the leader asks every busyRetryMax, and busyAttempts times before stuckRetry.
const (
	workRetryMin = 2 * time.Second
	workRetryMax = 2 * time.Minute
	stuckAfter   = 10
	stuckRetry   = 30 * time.Minute
	busyRetryMax = 15 * time.Second
	busyAttempts = 40
)

// claimMargin is how much longer a claim is valid than the work may take.
const claimMargin = time.Minute

// lane does one kind of work from the queue in Postgres (store.Work). Lanes do not wait for each other, objects of a lane do not wait for each
// other, and no tenant can occupy a whole lane.
type lane struct {
	kind      store.WorkKind
	workers   int           // objects at the same time
	perTenant int           // objects of one tenant at the same time
	timeout   time.Duration // for one object
	// do does the work. It may be interrupted anywhere, and it may run again after it succeeded.
	do func(ctx context.Context, w store.Work) error
	// failed records for the owner that an attempt failed, and decides how the leader continues.
	failed func(ctx context.Context, w store.Work, err error) (verdict, error)

	store   store.Control
	log     *slog.Logger
	metrics *metrics
}

// verdict is how the leader continues after an attempt failed.
type verdict struct {
	final bool          // it does not retry; failed has changed the object's state
	pause time.Duration // before the next attempt, at least
}

// pass claims work and does it until there is nothing left that is due. It claims more whenever an object is finished.
func (l *lane) pass(ctx context.Context, epoch int64) error {
	hint, stop := l.store.WatchWork()
	defer stop()
	running, finished := 0, make(chan struct{})
	defer func() {
		for ; running > 0; running-- {
			<-finished
		}
	}()
	for {
		if free := l.workers - running; free > 0 {
			claimed, err := l.store.ClaimWork(ctx, epoch, store.Claim{Kind: l.kind, Max: free, PerTenant: l.perTenant, Expires: l.timeout + claimMargin})
			if err != nil && (running == 0 || ctx.Err() != nil) {
				return err
			}
			if err != nil { // a failure of Postgres must not wait for the slowest object
				l.log.Warn("could not claim work; retrying", "kind", l.kind, "error", err)
			}
			for _, w := range claimed {
				running++
				go func() {
					defer func() { finished <- struct{}{} }()
					l.attempt(ctx, w)
				}()
			}
		}
		if running == 0 {
			return nil
		}
		select {
		case <-finished:
			running--
		case <-hint: // there may be work for a free worker
		case <-time.After(time.Second): // work that was postponed may be due
		}
	}
}

// attempt does the work on one object, and records how it ended.
func (l *lane) attempt(ctx context.Context, w store.Work) {
	doing, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	err := safely(func() error { return l.do(doing, w) })
	if _, panicked := errors.AsType[*panicError](err); panicked {
		l.metrics.panics.WithLabelValues(string(w.Kind)).Inc()
	}
	if ctx.Err() != nil {
		return // another leader claims it again
	}
	if problem, ok := errors.AsType[*husk.Error](err); err == nil || ok && problem.Code == husk.CodeNotFound {
		err = l.store.FinishWork(ctx, w) // if the object is gone, there is nothing to do
	} else {
		err = errors.Join(err, l.retry(ctx, w, err))
	}
	outcome := "ok"
	if err != nil {
		outcome = "error"
		l.log.Error("work failed", "kind", w.Kind, "tenant", w.TenantID, "object", w.ObjectID, "attempts", w.Attempts, "error", err)
	}
	l.metrics.work.WithLabelValues(string(w.Kind), outcome).Inc()
}

// silently records nothing for the owner of an object: the operator's log and metrics show why the work is not done.
func silently(context.Context, store.Work, error) (verdict, error) { return verdict{}, nil }

func (l *lane) retry(ctx context.Context, w store.Work, failure error) error {
	next, err := l.failed(ctx, w, failure)
	if next.final {
		return err
	}
	return errors.Join(err, l.store.PostponeWork(ctx, w, max(retryDelay(w.Attempts, failure), next.pause)))
}

// retryDelay returns how long to wait after this many attempts.
func retryDelay(attempts int, failure error) time.Duration {
	delay := workRetryMin << min(attempts-1, 10)
	switch {
	case busy(failure) && attempts < busyAttempts:
		return min(delay, busyRetryMax)
	case attempts >= stuckAfter:
		return stuckRetry
	default:
		return min(delay, workRetryMax)
	}
}

// queue shows how much work there is.
type queue struct {
	store   store.Control
	metrics *metrics
}

func (q *queue) pass(ctx context.Context, _ int64) error {
	counts, err := q.store.CountWork(ctx, stuckAfter)
	if err != nil {
		return err
	}
	for _, gauge := range []*prometheus.GaugeVec{q.metrics.queue, q.metrics.queueStuck, q.metrics.queueWait} {
		gauge.Reset()
	}
	for _, c := range counts {
		q.metrics.queue.WithLabelValues(string(c.Kind)).Set(float64(c.All))
		q.metrics.queueStuck.WithLabelValues(string(c.Kind)).Set(float64(c.Stuck))
		q.metrics.queueWait.WithLabelValues(string(c.Kind)).Set(c.Oldest.Seconds())
	}
	return nil
}
