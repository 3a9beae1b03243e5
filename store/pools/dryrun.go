// SPDX-License-Identifier: Apache-2.0

package pools

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

type dryRunKey struct{}

var errDryRun = errors.New("this is a dry run")

// DryRun returns a context whose transactions do everything except the commit.
func DryRun(ctx context.Context) context.Context { return context.WithValue(ctx, dryRunKey{}, true) }

// IsDryRun reports whether transactions with this context are rolled back.
func IsDryRun(ctx context.Context) bool { return ctx.Value(dryRunKey{}) != nil }

// rolledBack runs f and then ends its transaction with errDryRun.
func rolledBack(f func(pgx.Tx) error) func(pgx.Tx) error {
	return func(tx pgx.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		return errDryRun
	}
}
