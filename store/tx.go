// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"husk"
	"husk/store/db"
	"husk/store/pgerr"
	"husk/store/pools"
)

// ID identifies an object.
type ID = uuid.UUID

// How long and how often a transaction is retried. Ten seconds are longer than a restart of Postgres with a short recovery. After that the
// caller gets "unavailable" and can retry with the same idempotency key.
const (
	retryFor  = 10 * time.Second
	retryBase = 20 * time.Millisecond
	retryMax  = time.Second
)

// retry runs f in one transaction. It retries the whole transaction when the connection was lost or Postgres could not serialise it. f
// must be repeatable: it reads and writes through q only, and an idempotency key, a unique name or a state guards what it creates.
func retry[T any](ctx context.Context, pool *pools.Pool, tenant ID, f func(q *db.Queries) (T, error)) (T, error) {
	var zero T
	deadline := time.Now().Add(retryFor)
	for attempt := 0; ; attempt++ {
		result, err := once(ctx, pool, tenant, f)
		if err == nil || !pgerr.Temporary(err) {
			return result, pgerr.Explained(err)
		}
		wait := min(retryBase<<min(attempt, 10), retryMax)
		wait = wait/2 + rand.N(wait) //nolint:gosec // jitter needs no secrecy
		if ctx.Err() != nil || time.Now().Add(wait).After(deadline) {
			return zero, errors.Join(husk.Errorf(husk.CodeUnavailable, "", "the database does not respond; retry with the same Idempotency-Key"), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func once[T any](ctx context.Context, pool *pools.Pool, tenant ID, f func(q *db.Queries) (T, error)) (T, error) {
	var result T
	var transaction *string
	hinted := false
	r, _ := requestOf(ctx)
	err := pool.Begin(ctx, tenant, func(tx pgx.Tx) error {
		var err error
		result, err = f(db.New(hinting{tx, &hinted}))
		if err == nil && r.Changes {
			err = tx.QueryRow(ctx, "SELECT pg_current_xact_id_if_assigned()::text").Scan(&transaction)
		}
		return err
	})
	if err != nil && transaction != nil {
		err = outcome(ctx, pool, *transaction, err)
	}
	if err == nil && hinted {
		pool.Hinted()
	}
	return result, err
}

// outcome returns nil if a transaction was committed although its commit failed with err, because the response was lost. Repeated, the
// change would meet itself: the object no longer has the version that If-Match names, or no longer exists.
func outcome(ctx context.Context, pool *pools.Pool, transaction string, err error) error {
	deadline := time.Now().Add(retryFor)
	for {
		var status *string // NULL: so old that Postgres has forgotten it
		asked := pool.QueryRow(ctx, "SELECT pg_xact_status($1::text::xid8)", transaction).Scan(&status)
		switch {
		case asked == nil && status != nil && *status == "committed":
			return nil
		case asked == nil && status != nil && *status == "aborted":
			return err
		case ctx.Err() != nil || time.Now().After(deadline) || asked == nil && status == nil:
			unknown := husk.Errorf(husk.CodeUnavailable, "", "the database does not respond; it is not known whether the change was made")
			return fmt.Errorf("%w: %v: %v", unknown, err, asked) //nolint:errorlint // nobody may take it for an error after which to repeat the change
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryBase):
		}
	}
}

// hinting is a transaction that notices whether it writes hints to the outbox.
type hinting struct {
	pgx.Tx
	hinted *bool
}

// Exec implements db.DBTX. The table that it looks for is that of the query Hint.
func (h hinting) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if strings.Contains(sql, "INTO outbox") {
		*h.hinted = true
	}
	return h.Tx.Exec(ctx, sql, args...)
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
