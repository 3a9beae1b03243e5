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
	"github.com/jackc/pgx/v5/pgxpool"

	"husk"
	"husk/store/db"
)

// ID is how everything is named.
type ID = uuid.UUID

// How long and how often a transaction is tried again. Ten seconds outlast a restart of Postgres with a short recovery; whoever
// asked is told "unavailable" after that and can repeat with the same idempotency key.
const (
	retryFor  = 10 * time.Second
	retryBase = 20 * time.Millisecond
	retryMax  = time.Second
)

// retry runs f in one transaction and tries the whole of it again when Postgres was lost or refused to serialise it. f must be
// repeatable: it only reads and writes through q, and what it creates is guarded by an idempotency key, a unique name or a state.
func retry[T any](ctx context.Context, pool *pgxpool.Pool, f func(q *db.Queries) (T, error)) (T, error) {
	var zero T
	deadline := time.Now().Add(retryFor)
	for attempt := 0; ; attempt++ {
		result, err := once(ctx, pool, f)
		if err == nil || !temporary(err) {
			return result, explained(err)
		}
		wait := min(retryBase<<min(attempt, 10), retryMax)
		wait = wait/2 + rand.N(wait) //nolint:gosec // jitter needs no secrecy
		if ctx.Err() != nil || time.Now().Add(wait).After(deadline) {
			return zero, errors.Join(husk.Errorf(husk.CodeUnavailable, "", "the database does not answer; try again with the same Idempotency-Key"), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func once[T any](ctx context.Context, pool *pgxpool.Pool, f func(q *db.Queries) (T, error)) (T, error) {
	var result T
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		var err error
		result, err = f(db.New(tx))
		return err
	})
	return result, err
}

// temporary tells whether the transaction may succeed when it is repeated: serialisation failures and deadlocks, lost connections,
// a server that starts or stops, and a standby (25006: read-only).
func temporary(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "40001" || pg.Code == "40P01" || pg.Code == "25006" || pg.Code == "53300" ||
			strings.HasPrefix(pg.Code, "08") || strings.HasPrefix(pg.Code, "57P")
	}
	if _, ok := errors.AsType[*husk.Error](err); ok || errors.Is(err, pgx.ErrNoRows) || errors.Is(err, context.Canceled) {
		return false
	}
	_, isConnect := errors.AsType[*pgconn.ConnectError](err)
	return isConnect || pgconn.SafeToRetry(err) || connectionLost(err)
}

// connectionLost recognises a connection that broke in the middle: pgx reports it as an I/O error without a Postgres code.
func connectionLost(err error) bool {
	text := err.Error()
	for _, sign := range []string{"unexpected EOF", "connection reset", "broken pipe", "conn closed", "closed network connection", "connection refused"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// explained gives a code to what Postgres refuses for a reason that is not ours. Text is the caller's fault: JSON may carry a zero
// character, and a query parameter any bytes; Postgres keeps neither. A statement that was cancelled, say by its time limit behind a
// lock, may be tried again later.
func explained(err error) error {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case ok && (pg.Code == "22021" || pg.Code == "22P05"):
		return errors.Join(husk.Errorf(husk.CodeInvalid, "", "a text has a zero character or is not UTF-8"), err)
	case ok && pg.Code == "57014":
		return errors.Join(husk.Errorf(husk.CodeUnavailable, "", "the database took too long; try again with the same Idempotency-Key"), err)
	}
	return err
}

// uniqueViolation tells whether err breaks the named unique constraint.
func uniqueViolation(err error, constraint string) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "23505" && pg.ConstraintName == constraint
}

func foreignKeyViolation(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "23503"
}

// orNotFound turns "no rows" into the one answer for what does not exist and what is another tenant's.
func orNotFound(err error, kind string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return husk.NotFound(kind)
	}
	return err
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
