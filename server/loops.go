package server

import (
	"context"
	"errors"
	"sync"
	"time"
)

// loop is background work that only the leading server does. A pass takes no input: it re-reads what there is to do and does it, so
// it may be interrupted anywhere and run again.
type loop struct {
	name  string
	every time.Duration // at the latest
	hints bool          // whether hints wake it earlier
	pass  func(ctx context.Context, epoch int64) error
}

// lead runs the loops until the leadership ends.
func (s *Server) lead(ctx context.Context, epoch int64) {
	s.log.Info("leading", "epoch", epoch)
	s.metrics.leading.Set(1)
	defer s.metrics.leading.Set(0)
	defer s.metrics.queueAge.Set(0) // another server looks at the queue now
	nodes := newNodeWatch(s.cfg.Lease)
	placer := newPlacer(s)
	var running sync.WaitGroup
	for _, l := range []loop{
		{"schedule", 2 * time.Second, true, placer.pass},
		{"keys", 2 * time.Second, true, newKeyMaker(s).pass},
		{"volumes", 5 * time.Second, true, s.volumesPass},
		{"images", 5 * time.Second, true, s.imagesPass},
		{"nodes", s.cfg.Heartbeat / 2, false, func(ctx context.Context, epoch int64) error { return s.nodesPass(ctx, epoch, nodes) }},
		{"signing-keys", time.Minute, false, s.signingKeysPass},
		{"usage", time.Minute, false, s.usagePass},
		{"collect", 10 * time.Second, false, s.collectPass},
	} {
		running.Go(func() { s.run(ctx, epoch, l) })
	}
	running.Wait()
}

// Backoff of a loop whose pass failed.
const (
	loopRetryMin = 200 * time.Millisecond
	loopRetryMax = 10 * time.Second
)

func (s *Server) run(ctx context.Context, epoch int64, l loop) {
	hint, done := s.store.WatchWork()
	defer done()
	if !l.hints {
		hint = nil
	}
	wait := time.Duration(0)
	retry := loopRetryMin
	for {
		select {
		case <-ctx.Done():
			return
		case <-hint:
		case <-time.After(wait):
		}
		start := time.Now()
		err := l.pass(ctx, epoch)
		outcome := "ok"
		wait = l.every
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errMore):
			wait = 0
		case err != nil:
			outcome = "error"
			s.log.Error("pass failed; it is tried again", "loop", l.name, "error", err, "after", retry)
			wait = retry
			retry = min(2*retry, loopRetryMax)
		default:
			retry = loopRetryMin
		}
		s.metrics.loops.WithLabelValues(l.name, outcome).Observe(time.Since(start).Seconds())
	}
}

// errMore is a pass' way to say that it left work and wants to run again at once.
var errMore = errors.New("there is more to do")
