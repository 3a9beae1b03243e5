// SPDX-License-Identifier: Apache-2.0

package pools

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
)

var one, two, three = uuid.UUID{1}, uuid.UUID{2}, uuid.UUID{3}

func TestATenantDoesNotHoldAllConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(Purpose{Max: 4, PerTenant: 2})
		for range 2 {
			enter(t, turns, one)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := turns.enter(ctx, one); err == nil {
			t.Error("a tenant gets a third connection; the limit is two")
		}
		enter(t, turns, two)
		turns.leave(one, time.Now())
		enter(t, turns, one)
		if turns.free != 1 || len(turns.waiting) != 0 {
			t.Errorf("%d connections are free and %d waiting, want 1 and 0", turns.free, len(turns.waiting))
		}
	})
}

func TestTheTenantWithFewerConnectionsIsNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(Purpose{Max: 3, PerTenant: 2})
		for _, tenant := range []uuid.UUID{one, one, two} {
			enter(t, turns, tenant)
		}
		order := make(chan uuid.UUID, 3)
		for _, tenant := range []uuid.UUID{two, two, three} {
			go func() {
				if turns.enter(t.Context(), tenant) == nil {
					order <- tenant
				}
			}()
			synctest.Wait() // so that they wait in this order
		}
		turns.leave(one, time.Now())
		if got := <-order; got != three {
			t.Errorf("the next connection goes to tenant %d, which holds one; tenant 3 holds none", got[0])
		}
		turns.leave(one, time.Now())
		turns.leave(two, time.Now())
		if first, second := <-order, <-order; first != two || second != two {
			t.Errorf("the next connections go to tenants %d and %d", first[0], second[0])
		}
	})
}

func TestATenantRestsAfterALongTransaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(Purpose{Max: 2, PerTenant: 1, Rest: 2})
		enter(t, turns, one)
		began := time.Now()
		time.Sleep(3 * time.Second)
		turns.leave(one, began)
		enter(t, turns, two)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("another tenant waited %s", took-3*time.Second)
		}
		enter(t, turns, one)
		if took := time.Since(began); took != 9*time.Second {
			t.Errorf("the tenant's next transaction begins after %s, want 9s", took)
		}
		if len(turns.resting) != 0 {
			t.Errorf("%d tenants are remembered although they do not rest", len(turns.resting))
		}
	})
}

func enter(t *testing.T, turns *turns, tenant uuid.UUID) {
	t.Helper()
	if err := turns.enter(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
}
