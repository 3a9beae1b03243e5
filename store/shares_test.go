// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store"
)

// TestNobodyTakesAllConnections makes more transactions wait for a lock than there are connections.
// Transactions for which there are other connections must not wait.
func TestNobodyTakesAllConnections(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, lock string
		wait       func(h fixture, tenant store.Tenant) error // waits for the lock
	}{
		{"creations of a tenant", "SELECT FROM tenants WHERE id = 'ATTACKER' FOR UPDATE", func(h fixture, tenant store.Tenant) error {
			_, err := tenant.CreateVolume(h.t.Context(), once(), named("volume"), map[string]string{}, 1)
			return err
		}},
		{"reports of usage", "LOCK TABLE usage_hours", func(h fixture, tenant store.Tenant) error {
			_, err := tenant.Usage(h.t.Context(), husk.UsageQuery{From: time.Now().Add(-time.Hour), To: time.Now(), Period: husk.UsageTotal, GroupBy: husk.UsageByNothing})
			return err
		}},
		{"reports of usage for operators", "LOCK TABLE usage_hours", func(h fixture, _ store.Tenant) error {
			_, err := h.Usage(h.t.Context(), husk.UsageQuery{From: time.Now().Add(-time.Hour), To: time.Now(), Period: husk.UsageTotal, GroupBy: husk.UsageByNothing})
			return err
		}},
		{"logins", "LOCK TABLE credentials", func(h fixture, _ store.Tenant) error {
			_, err := h.db.Logins().Authenticate(h.t.Context(), uuid.New(), "wrong")
			if husk.CodeOf(err) == husk.CodeUnauthenticated {
				return nil
			}
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := open(t)
			one, two, node := h.tenant(), h.tenant(), h.node(1)
			volume := h.volume(two)
			attacker, other := h.as(one.ID), h.as(two.ID)
			locker := h.connect("postgres") // the superuser
			if _, err := locker.Exec(t.Context(), "BEGIN"); err != nil {
				t.Fatal(err)
			}
			if _, err := locker.Exec(t.Context(), strings.ReplaceAll(c.lock, "ATTACKER", one.ID.String())); err != nil {
				t.Fatal(err)
			}
			var waiting sync.WaitGroup
			defer waiting.Wait()
			defer locker.Exec(context.WithoutCancel(t.Context()), "COMMIT") //nolint:errcheck // a failure shows below
			const transactions = 20
			for range transactions {
				waiting.Go(func() {
					if err := c.wait(h, attacker); err != nil {
						t.Errorf("a transaction that waited for the lock: %v", err)
					}
				})
			}
			eventually(t, "waiting for the lock", func() bool {
				return queryOne[int](h, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") > 0
			})
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if _, err := other.Volume(ctx, volume.ID); err != nil {
				t.Errorf("a request of another tenant: %v", err)
			}
			if _, _, err := h.Heartbeat(ctx, store.Beat{Node: node}); err != nil {
				t.Errorf("a heartbeat: %v", err)
			}
			if _, _, err := h.db.Lookups().TakeTenantTokens(ctx, two.ID); err != nil {
				t.Errorf("the rate limit of another tenant: %v", err)
			}
		})
	}
}
