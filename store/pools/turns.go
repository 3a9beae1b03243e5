// SPDX-License-Identifier: Apache-2.0

package pools

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// turns shares a pool's connections between tenants. The next connection goes to the waiting tenant that holds the fewest; of several such
// tenants, to the one that has waited longest.
type turns struct {
	perTenant int
	rest      float64

	mu      sync.Mutex
	free    int
	held    map[uuid.UUID]int
	resting map[uuid.UUID]time.Time // until then, the tenant gets no connection
	waiting []*waiter               // the longest first
	full    Waits                   // of transactions that waited because all connections were in use
	share   Waits                   // of transactions that waited because their tenant held its share or rested
}

// Waits are transactions that had to wait.
type Waits struct {
	Count int64
	Total time.Duration
}

func (w *Waits) add(since time.Time) {
	w.Count++
	w.Total += time.Since(since)
}

type waiter struct {
	tenant uuid.UUID
	ready  chan struct{}
}

func newTurns(p Purpose) *turns {
	return &turns{perTenant: p.PerTenant, rest: p.Rest, free: p.Max, held: map[uuid.UUID]int{}, resting: map[uuid.UUID]time.Time{}}
}

// enter waits for a turn of the tenant. Call leave when it is over.
func (t *turns) enter(ctx context.Context, tenant uuid.UUID) error {
	w := &waiter{tenant, make(chan struct{})}
	began := time.Now()
	t.mu.Lock()
	t.waiting = append(t.waiting, w)
	t.grant(began)
	waits := &t.full
	if t.busy(tenant, began) {
		waits = &t.share
	}
	t.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	default:
	}
	select {
	case <-w.ready:
		t.mu.Lock()
		defer t.mu.Unlock()
		waits.add(began)
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, w); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	} else { // the turn came at the same moment
		t.giveBack(tenant)
		t.grant(time.Now())
	}
	return ctx.Err()
}

// leave ends a turn that began at this time.
func (t *turns) leave(tenant uuid.UUID, began time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.giveBack(tenant)
	if t.rest > 0 {
		rest := time.Duration(t.rest * float64(time.Since(began)))
		t.resting[tenant] = time.Now().Add(rest)
		time.AfterFunc(rest, t.wake)
	}
	t.grant(time.Now())
}

func (t *turns) giveBack(tenant uuid.UUID) {
	t.free++
	if t.held[tenant]--; t.held[tenant] == 0 {
		delete(t.held, tenant)
	}
}

// wake grants turns after a tenant has rested.
func (t *turns) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for tenant, until := range t.resting {
		if !now.Before(until) {
			delete(t.resting, tenant)
		}
	}
	t.grant(now)
}

// grant gives the free connections to waiting tenants.
func (t *turns) grant(now time.Time) {
	for t.free > 0 {
		next := -1
		for i, w := range t.waiting {
			if t.busy(w.tenant, now) {
				continue
			}
			if next < 0 || t.held[w.tenant] < t.held[t.waiting[next].tenant] {
				next = i
			}
		}
		if next < 0 {
			return
		}
		w := t.waiting[next]
		t.waiting = slices.Delete(t.waiting, next, next+1)
		t.free--
		t.held[w.tenant]++
		close(w.ready)
	}
}

// busy reports whether the tenant gets no further connection at the moment.
func (t *turns) busy(tenant uuid.UUID, now time.Time) bool {
	return t.held[tenant] >= t.perTenant || now.Before(t.resting[tenant])
}

func (t *turns) waits() (full, share Waits) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.full, t.share
}
