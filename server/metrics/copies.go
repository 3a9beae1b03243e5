// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"husk"
	"husk/store"
)

// How this server keeps its copies of the tenants' metrics.
const (
	freshFor  = 5 * time.Second  // a scrape of an older copy reads the tenant's metrics again
	maxAge    = 15 * time.Second // if that fails, an older copy than this is not shown; a caller is re-checked after this time
	readLimit = 2 * time.Second  // how long a scrape waits for a read if it could show a copy instead
	readMost  = 100              // tenants that one read includes
	idleAfter = 5 * time.Minute  // without scrapes for this long, a tenant's copy is removed
	// maxCallers is how many callers of a tenant are remembered; further callers are checked at each request.
	maxCallers = 100
)

// copies are this server's copies of the metrics of the tenants that are scraped. A scrape reads its tenant's metrics from the database, unless
// that was done in the last few seconds. Scrapes that arrive during a read share the next one. So the work depends on the pods that are scraped,
// and not on the pods that exist. With a copy, the server remembers the callers who have read it. This is the only place where a caller is not
// checked in the transaction of its own request; see docs/decisions/0017.
type copies struct {
	read  func(ctx context.Context, tenants []store.ID, callers []husk.Caller) (map[store.ID]*husk.TenantMetrics, []husk.Caller, error)
	check func(ctx context.Context, c husk.Caller) error
	reads prometheus.Counter

	reading chan struct{} // one reader at a time

	mu      sync.Mutex
	tenants map[store.ID]*scraped
}

// scraped is a tenant that is scraped.
type scraped struct {
	asked   time.Time // time of the latest scrape
	bucket  *rate.Limiter
	page    *page // nil before the first read
	at      time.Time
	waiting bool                      // a scrape waits for the next read
	callers map[husk.Caller]time.Time // when the database last confirmed them
}

func newCopies(s *store.Store) *copies {
	return &copies{
		read: s.Control().TenantMetrics, check: func(ctx context.Context, c husk.Caller) error { return s.Tenant(c).CheckCaller(ctx) },
		reads: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "husk_tenant_metrics_reads_total", Help: "Tenants whose metrics this server has read from Postgres for their scrapes.",
		}),
		reading: make(chan struct{}, 1), tenants: map[store.ID]*scraped{},
	}
}

// run removes what is not scraped any more, until ctx ends.
func (l *copies) run(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.sweep(time.Now())
		}
	}
}

func (l *copies) sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, t := range l.tenants {
		if now.Sub(t.asked) > idleAfter { // its bucket is full again
			delete(l.tenants, id)
		}
	}
}

// Forget removes all copies, so that the next scrape of each tenant reads its metrics. Tests use it.
func (l *copies) Forget() { l.sweep(time.Now().Add(2 * idleAfter)) }

// tenant returns a tenant that is scraped. The caller holds mu.
func (l *copies) tenant(id store.ID, now time.Time) *scraped {
	t := l.tenants[id]
	if t == nil {
		t = &scraped{bucket: rate.NewLimiter(scrapesPerSecond, scrapesAtOnce), callers: map[husk.Caller]time.Time{}}
		l.tenants[id] = t
	}
	t.asked = now
	return t
}

// of returns the metrics of the caller's tenant. Codes: unauthenticated, unavailable.
func (l *copies) of(ctx context.Context, c husk.Caller) (*page, error) {
	if err := l.admit(ctx, c); err != nil {
		return nil, err
	}
	page, err := l.fresh(ctx, c.TenantID)
	if err != nil {
		return nil, err
	}
	if err := l.admit(ctx, c); err != nil { // a read also re-checks the tenant's callers
		return nil, err
	}
	if page == nil {
		return nil, husk.Errorf(husk.CodeUnauthenticated, "", "the tenant of this token was deleted")
	}
	return page, nil
}

// admit refuses a caller whose account or role does not match the token. What it knows from the database can be up to maxAge old.
func (l *copies) admit(ctx context.Context, c husk.Caller) error {
	now := time.Now()
	l.mu.Lock()
	stood, seen := l.tenant(c.TenantID, now).callers[c]
	l.mu.Unlock()
	if seen && now.Sub(stood) < maxAge {
		return nil
	}
	if err := l.check(ctx, c); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.tenant(c.TenantID, now); seen || len(t.callers) < maxCallers {
		t.callers[c] = now
	}
	return nil
}

// copy returns a tenant's copy if it is younger than this. Otherwise, the next read includes the tenant.
func (l *copies) copy(id store.ID, younger time.Duration) (*page, bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tenant(id, now)
	fresh := !t.at.IsZero() && now.Sub(t.at) < younger
	t.waiting = t.waiting || !fresh
	return t.page, fresh
}

// fresh returns a copy that is fresh, if the database responds. The page is nil if there is no such tenant.
func (l *copies) fresh(ctx context.Context, id store.ID) (*page, error) {
	if page, ok := l.copy(id, freshFor); ok {
		return page, nil
	}
	limited := ctx
	if _, ok := l.copy(id, maxAge); ok {
		var done context.CancelFunc
		limited, done = context.WithTimeout(ctx, readLimit)
		defer done()
	}
	err := l.readWaiting(limited, id)
	if err == nil {
		page, _ := l.copy(id, maxAge)
		return page, nil
	}
	if page, ok := l.copy(id, maxAge); ok && ctx.Err() == nil {
		return page, nil
	}
	return nil, err
}

// readWaiting reads this tenant, unless another scrape has read it meanwhile, and other tenants whose scrapes wait.
func (l *copies) readWaiting(ctx context.Context, id store.ID) error {
	select {
	case l.reading <- struct{}{}:
		defer func() { <-l.reading }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if _, ok := l.copy(id, freshFor); ok {
		return nil
	}
	start := time.Now()
	tenants, callers := l.take(id)
	found, stand, err := l.read(ctx, tenants, callers)
	if err != nil {
		return err
	}
	l.reads.Add(float64(len(tenants)))
	good := make(map[husk.Caller]bool, len(stand))
	for _, c := range stand {
		good[c] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range tenants {
		t := l.tenants[id]
		if t == nil {
			continue // forgotten meanwhile
		}
		t.at, t.page, t.waiting = start, nil, false
		if m := found[id]; m != nil {
			t.page = &page{tenant: m}
		}
	}
	for _, c := range callers {
		t := l.tenants[c.TenantID]
		if t == nil {
			continue
		}
		switch stood, seen := t.callers[c]; {
		case !seen:
		case good[c]:
			t.callers[c] = start
		case stood.Before(start):
			delete(t.callers, c)
		}
	}
	return nil
}

// take returns this tenant and others whose scrapes wait, with their callers.
func (l *copies) take(id store.ID) (tenants []store.ID, callers []husk.Caller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := func(id store.ID, t *scraped) {
		t.waiting = false
		tenants = append(tenants, id)
		for c := range t.callers {
			callers = append(callers, c)
		}
	}
	one(id, l.tenant(id, time.Now()))
	for id, t := range l.tenants {
		if t.waiting && len(tenants) < readMost {
			one(id, t)
		}
	}
	return tenants, callers
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
	return l.tenant(tenant, now).bucket.AllowN(now, 1)
}

// IsScrape reports whether an operation is served from memory.
func IsScrape(operation string) bool {
	return operation == "GetTenantMetrics" || operation == "ListMetricsTargets"
}
