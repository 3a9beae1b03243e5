// SPDX-License-Identifier: Apache-2.0

// Package migrations contains the numbered SQL files that create and change the schema, and applies
// them. Migrations go forward only.
package migrations

import (
	"context"
	"embed"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"
)

// FS holds the migrations, in the form that tern reads.
//
//go:embed *.sql
var FS embed.FS

// Apply brings the schema up to date. Servers that start at the same time take turns with tern's
// advisory lock; all except the first find nothing to do. dsn names the database and the owner of
// the schema.
func Apply(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect to postgres to migrate: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	m, err := migrate.NewMigrator(ctx, conn, "schema_version")
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	if err := m.LoadMigrations(FS); err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if err := m.Migrate(ctx); err != nil {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	return nil
}
