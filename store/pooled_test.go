// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"husk"
	"husk/store"
)

// Many tenants share few connections, and the queries in this test have no WHERE. The next tenant on
// a connection sees only its own rows, no matter how the transaction before it ended. A transaction
// without a tenant sees no rows.
func TestNoRowCrossesOnAPooledConnection(t *testing.T) {
	t.Parallel()
	h := open(t)
	const tenants, workers, rounds = 6, 8, 150
	all := make([]husk.Tenant, tenants)
	own := map[uuid.UUID]int{}
	for i := range all {
		all[i] = h.tenant()
		for range i + 1 {
			volume := h.volume(all[i])
			own[all[i].ID]++
			_ = volume
		}
	}
	cfg, err := pgxpool.ParseConfig(h.url(store.RoleTenant))
	must(t, cfg, err)
	cfg.MaxConns = 2
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	must(t, pool, err)
	t.Cleanup(pool.Close)
	var queries atomic.Int64
	look := func(ctx context.Context, tx pgx.Tx, tenant uuid.UUID, want int) {
		for _, table := range []string{"volumes", "events", "idempotency_keys"} {
			rows, err := tx.Query(ctx, fmt.Sprintf("SELECT tenant_id FROM %s", table)) //nolint:gosec // a list of ours
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("%s: %v", table, err)
				}
				return
			}
			seen, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
			if err != nil {
				return
			}
			queries.Add(1)
			for _, id := range seen {
				if id != tenant {
					t.Errorf("%s shows a row of %s to %s", table, id, tenant)
				}
			}
			if table == "volumes" && len(seen) != want {
				t.Errorf("a tenant with %d volumes sees %d volumes", want, len(seen))
			}
		}
	}
	ending := errors.New("the transaction ends this way")
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for range rounds {
				tenant := all[rand.IntN(tenants)].ID //nolint:gosec // which one does not matter
				ctx, cancel := context.WithCancel(t.Context())
				how := rand.IntN(5) //nolint:gosec // how it ends does not matter either
				err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
					if how == 0 { // a transaction without a tenant
						look(ctx, tx, uuid.Nil, 0)
						return nil
					}
					var valid bool
					if err := tx.QueryRow(ctx, "SELECT begin_tenant($1, caller => NULL, caller_key => NULL, caller_role => '')", tenant).Scan(&valid); err != nil || !valid {
						return err
					}
					look(ctx, tx, tenant, own[tenant])
					switch how {
					case 1:
						return ending
					case 2:
						cancel() // the caller cancels during the transaction
					case 3:
						_, err := tx.Exec(ctx, "SELECT 1/0")
						return errors.Join(ending, err)
					}
					return nil
				})
				if err != nil && !errors.Is(err, ending) && ctx.Err() == nil {
					t.Error(err)
				}
				cancel()
				// The store's methods share one connection pool too.
				volumes, _, err := h.as(tenant).Volumes(t.Context(), store.Page{Limit: 100}, store.Filter{})
				if err != nil || len(volumes) != own[tenant] {
					t.Errorf("the store shows %d volumes of %d: %v", len(volumes), own[tenant], err)
				}
			}
		})
	}
	running.Wait()
	if queries.Load() < workers*rounds {
		t.Errorf("only %d queries were run", queries.Load())
	}
}
