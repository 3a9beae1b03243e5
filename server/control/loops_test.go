// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A hint wakes a loop whose next pass is an hour away, and the loop ends with its context.
func TestAHintWakesALoop(t *testing.T) {
	t.Parallel()
	f := open(t)
	l := New(Config{Store: f.Control, Log: slog.New(slog.DiscardHandler), Terms: LeaseTerms{Heartbeat: time.Second}, Metrics: prometheus.NewRegistry()})
	ctx, cancel := context.WithCancel(t.Context())
	passes, stopped := make(chan int64, 100), make(chan struct{})
	go func() {
		defer close(stopped)
		l.run(ctx, 7, loop{"test", time.Hour, true, func(_ context.Context, epoch int64) error { passes <- epoch; return nil }})
	}()
	next := func(what string) {
		t.Helper()
		select {
		case epoch := <-passes:
			if epoch != 7 {
				t.Errorf("the epoch is %d", epoch)
			}
		case <-time.After(patience):
			t.Fatalf("the loop did not run a pass %s", what)
		}
	}
	next("at the start")
	_, err := f.PutPool(t.Context(), "pool", 1)
	must(t, err)
	next("after a hint")
	cancel()
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Error("the loop does not stop")
	}
}

// The loop retries a failed pass soon. If a pass reports that work is left, the loop runs the next
// pass at once.
func TestAPassThatFailsOrLeavesWorkIsRepeated(t *testing.T) {
	t.Parallel()
	f := open(t)
	l := New(Config{Store: f.Control, Log: slog.New(slog.DiscardHandler), Terms: LeaseTerms{Heartbeat: time.Second}, Metrics: prometheus.NewRegistry()})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	results := []error{ErrMore, context.DeadlineExceeded, ErrMore, nil}
	n, done := 0, make(chan struct{})
	go l.run(ctx, 0, loop{"test", time.Hour, false, func(context.Context, int64) error {
		n++
		if n == len(results) {
			close(done)
		}
		return results[n-1]
	}})
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the loop did not run all passes")
	}
}

// A panic in one pass is an error of this pass. The server, the other loops and the next pass continue.
func TestAPanicInAPassIsCounted(t *testing.T) {
	t.Parallel()
	f := open(t)
	registry := prometheus.NewRegistry()
	l := New(Config{Store: f.Control, Log: slog.New(slog.DiscardHandler), Terms: LeaseTerms{Heartbeat: time.Second}, Metrics: registry})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n, done := 0, make(chan struct{})
	go l.run(ctx, 0, loop{"test", time.Hour, false, func(context.Context, int64) error {
		if n++; n < 3 {
			panic("unexpected content")
		}
		close(done)
		return nil
	}})
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the loop does not continue after a panic")
	}
	families, err := registry.Gather()
	must(t, err)
	for _, family := range families {
		if family.GetName() == "husk_loop_panics_total" {
			if got := family.GetMetric()[0].GetCounter().GetValue(); got != 2 {
				t.Errorf("%g panics are counted, want 2", got)
			}
			return
		}
	}
	t.Error("panics are not counted")
}
