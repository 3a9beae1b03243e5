// SPDX-License-Identifier: Apache-2.0

// Package pgerr classifies Postgres' errors: which transactions may succeed when they are retried, which errors the caller's data caused,
// and which constraint was violated.
package pgerr

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"husk"
)

// NotFound returns the error not_found for an object of this kind if there was no row, and other errors as they are.
func NotFound(err error, kind string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return husk.NotFound(kind)
	}
	return err
}

// Temporary reports whether the transaction may succeed when it is retried: serialisation failures and deadlocks, lost connections,
// a server that starts or stops, and a standby (25006: read-only).
func Temporary(err error) bool {
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

// Explained adds a code to errors that are not Husk's fault. JSON may contain a zero character, and a query parameter may contain any bytes;
// Postgres stores neither, so the caller's text is invalid. A statement that was cancelled, for example because it waited too long for a
// lock, can be retried later.
func Explained(err error) error {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case ok && (pg.Code == "22021" || pg.Code == "22P05"):
		return errors.Join(husk.Errorf(husk.CodeInvalid, "", "a text contains a zero character or is not UTF-8"), err)
	case ok && pg.Code == "57014":
		return errors.Join(husk.Errorf(husk.CodeUnavailable, "", "the database took too long; retry with the same Idempotency-Key"), err)
	}
	return err
}

// UniqueViolation reports whether err violates the named unique constraint.
func UniqueViolation(err error, constraint string) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "23505" && pg.ConstraintName == constraint
}

// ForeignKeyViolation reports whether err violates a foreign key.
func ForeignKeyViolation(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "23503"
}
