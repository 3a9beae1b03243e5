// SPDX-License-Identifier: Apache-2.0

// Package watch streams changes of a tenant's objects as server-sent events. For each tenant and kind of object there is one feed, however
// many watches are open. It reads the list again at each hint, compares it with what it read before, and all watches send what is new from
// there. It holds no database connection meanwhile.
//
// A watch keeps no queue: it remembers which version of the feed it has sent, and then sends what has changed since. So a slow reader gets
// the latest state, costs no memory for changes that it has missed, and cannot miss the last one.
//
//   - feed.go reads and compares
//   - stream.go sends to one reader
package watch

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"husk/server/held"
	"husk/store"
)

// Config is what all kinds of watches share.
type Config struct {
	Store *store.Store
	Log   *slog.Logger
	Held  *held.Held // limits how fast a tenant's changes are sent

	open  prometheus.Gauge
	reads *prometheus.CounterVec
}

// NewConfig prepares watches and registers their metrics.
func NewConfig(s *store.Store, log *slog.Logger, h *held.Held, registry prometheus.Registerer) Config {
	c := Config{
		Store: s, Log: log, Held: h,
		open:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "husk_watchers", Help: "Streams with watch=true that this server serves."}),
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "husk_watch_reads_total", Help: "Reads of a tenant's list for all of its watches."}, []string{"kind"}),
	}
	registry.MustRegister(c.open, c.reads)
	return c
}

// Kind describes a kind of object.
type Kind[T any] struct {
	Name string // in the plural, for metrics
	ID   func(T) uuid.UUID
	// Hints subscribes to hints that objects may have changed.
	Hints func(store.Tenant) (<-chan struct{}, func())
	// Read reads all objects, or those since this time if objects are only appended.
	Read func(ctx context.Context, tenant store.Tenant, since time.Time) ([]T, error)
	// Wire returns the object in the form of the API. If redacted, it leaves out what viewers must not see.
	Wire func(object T, redacted bool) (any, error)
	// Settle is set for objects that are only appended: how long after its time an object may still appear. Objects that are no longer in
	// the list are old, not deleted.
	Settle time.Duration
	// At is the time of an object that is only appended.
	At func(T) time.Time
}

// Feeds are the feeds of all tenants of one kind.
type Feeds[T any] struct {
	cfg  Config
	kind Kind[T]

	mu    sync.Mutex
	feeds map[uuid.UUID]*feed[T]
}

// New prepares the watches of one kind.
func New[T any](cfg Config, kind Kind[T]) *Feeds[T] {
	return &Feeds[T]{cfg: cfg, kind: kind, feeds: map[uuid.UUID]*feed[T]{}}
}

// join returns the tenant's feed, and starts it for its first watch. Call leave when done.
func (f *Feeds[T]) join(tenant uuid.UUID) (_ *feed[T], leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.feeds[tenant]
	if one == nil {
		one = newFeed(f.kind, f.cfg.Store.Watcher(tenant), f.cfg.reads.WithLabelValues(f.kind.Name))
		f.feeds[tenant] = one
		ctx, cancel := context.WithCancel(context.Background())
		one.stop = cancel
		one.running.Go(func() {
			err := one.guarded(ctx)
			if ctx.Err() == nil {
				f.cfg.Log.Warn("the watches of a tenant ended", "kind", f.kind.Name, "tenant", tenant, "error", err)
			}
			f.mu.Lock()
			if f.feeds[tenant] == one { // the next watch starts another
				delete(f.feeds, tenant)
			}
			f.mu.Unlock()
			one.end(err)
		})
	}
	one.watches++
	return one, func() {
		f.mu.Lock()
		one.watches--
		last := one.watches == 0
		if last && f.feeds[tenant] == one {
			delete(f.feeds, tenant)
		}
		f.mu.Unlock()
		if last {
			one.stop()
			one.running.Wait()
		}
	}
}
