// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"husk"
	"husk/store"
)

// How this server keeps its copy of the tenants' metrics.
const (
	refreshEvery = 5 * time.Second  // between two reads
	maxAge       = 15 * time.Second // an older copy is not shown, and a caller is re-checked after this time
	idleAfter    = 5 * time.Minute  // without scrapes for this long, nothing is read
	// maxCallers is how many callers are remembered; further callers are checked at each request.
	maxCallers = 10_000
)

// copies is this server's copy of the metrics of all tenants, with the callers that have read them recently. A background loop reads everything again every
// few seconds in one transaction, so that a scrape reads from memory only. This is the only place where a caller is not checked in the transaction of its
// own request; see docs/decisions/0017.
type copies struct {
	read  func(ctx context.Context, callers []husk.Caller) (map[store.ID]*husk.TenantMetrics, []husk.Caller, error)
	check func(ctx context.Context, c husk.Caller) error

	reading sync.Mutex // one reader at a time
	current atomic.Pointer[snapshot]

	mu      sync.Mutex
	asked   time.Time // time of the latest scrape
	callers map[husk.Caller]*seenCaller
	scrapes map[store.ID]*rate.Limiter
}

// snapshot is the result of one read.
type snapshot struct {
	at    time.Time
	pages map[store.ID]*page
}

// seenCaller is a caller that scrapes.
type seenCaller struct {
	asked time.Time
	stood time.Time // when the database last confirmed the caller
}

func newCopies(s *store.Store) *copies {
	return &copies{
		read: s.Control().TenantMetrics, check: func(ctx context.Context, c husk.Caller) error { return s.Tenant(c).CheckCaller(ctx) },
		callers: map[husk.Caller]*seenCaller{}, scrapes: map[store.ID]*rate.Limiter{},
	}
}

// run keeps the copy fresh until ctx ends, as long as there are scrapes.
func (l *copies) run(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.mu.Lock()
		idle := time.Since(l.asked) > idleAfter
		l.mu.Unlock()
		if idle {
			continue
		}
		if err := l.Refresh(ctx); err != nil && ctx.Err() == nil {
			log.Warn("could not read the metrics of tenants; retrying", "error", err, "after", refreshEvery)
		}
	}
}

// Refresh reads the metrics of all tenants again now.
func (l *copies) Refresh(ctx context.Context) error {
	l.reading.Lock()
	defer l.reading.Unlock()
	return l.reload(ctx)
}

// reload is Refresh for a caller that holds reading.
func (l *copies) reload(ctx context.Context) error {
	start := time.Now()
	l.mu.Lock()
	callers := make([]husk.Caller, 0, len(l.callers))
	for c, state := range l.callers {
		if start.Sub(state.asked) > idleAfter {
			delete(l.callers, c)
			continue
		}
		callers = append(callers, c)
	}
	for tenant, bucket := range l.scrapes {
		if bucket.TokensAt(start) >= scrapesAtOnce { // it equals a new one
			delete(l.scrapes, tenant)
		}
	}
	l.mu.Unlock()
	tenants, stand, err := l.read(ctx, callers)
	if err != nil {
		return err
	}
	next := &snapshot{at: start, pages: make(map[store.ID]*page, len(tenants))}
	for id, t := range tenants {
		next.pages[id] = &page{tenant: t}
	}
	l.current.Store(next)
	good := make(map[husk.Caller]bool, len(stand))
	for _, c := range stand {
		good[c] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range callers {
		switch state := l.callers[c]; {
		case state == nil:
		case good[c]:
			state.stood = start
		case state.stood.Before(start):
			delete(l.callers, c)
		}
	}
	return nil
}

// of returns the metrics of the caller's tenant. Codes: unauthenticated, unavailable.
func (l *copies) of(ctx context.Context, c husk.Caller) (*page, error) {
	if err := l.admit(ctx, c); err != nil {
		return nil, err
	}
	now, err := l.fresh(ctx)
	if err != nil {
		return nil, err
	}
	if page := now.pages[c.TenantID]; page != nil {
		return page, nil
	}
	if err := l.Refresh(ctx); err != nil { // the tenant may have just been created
		return nil, err
	}
	if page := l.current.Load().pages[c.TenantID]; page != nil {
		return page, nil
	}
	return nil, husk.Errorf(husk.CodeUnauthenticated, "", "the tenant of this token was deleted")
}

// admit refuses a caller whose account or role does not match the token. What it knows from the database can be up to maxAge old.
func (l *copies) admit(ctx context.Context, c husk.Caller) error {
	now := time.Now()
	l.mu.Lock()
	l.asked = now
	state := l.callers[c]
	known := state != nil && now.Sub(state.stood) < maxAge
	if known {
		state.asked = now
	}
	l.mu.Unlock()
	if known {
		return nil
	}
	if err := l.check(ctx, c); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.callers) < maxCallers {
		l.callers[c] = &seenCaller{asked: now, stood: now}
	}
	return nil
}

// fresh returns the copy. Only the first scrape after a pause waits for a read.
func (l *copies) fresh(ctx context.Context) (*snapshot, error) {
	if now := l.current.Load(); now != nil && time.Since(now.at) < maxAge {
		return now, nil
	}
	l.reading.Lock()
	defer l.reading.Unlock()
	if now := l.current.Load(); now != nil && time.Since(now.at) < maxAge {
		return now, nil
	}
	if err := l.reload(ctx); err != nil {
		return nil, err
	}
	return l.current.Load(), nil
}

// How often a tenant can scrape each server without the scrape counting as a request. Counting takes a query.
const (
	scrapesPerSecond = 2
	scrapesAtOnce    = 20
)

// Free reports whether a scrape is within the number that does not count as requests.
func (l *copies) Free(tenant store.ID, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket := l.scrapes[tenant]
	if bucket == nil {
		bucket = rate.NewLimiter(scrapesPerSecond, scrapesAtOnce)
		l.scrapes[tenant] = bucket
	}
	return bucket.AllowN(now, 1)
}

// IsScrape reports whether an operation is served from memory.
func IsScrape(operation string) bool {
	return operation == "GetTenantMetrics" || operation == "ListMetricsTargets"
}
