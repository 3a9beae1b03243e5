// SPDX-License-Identifier: Apache-2.0

// Package migrations contains the numbered SQL files that create and change the schema, and applies
// them. Migrations go forward only.
//
// Servers of two versions run at the same time during an upgrade, and an older server may be
// restarted on the newer schema. So a change takes two releases: the first one expands the schema,
// and a later one, which no longer runs together with servers that need the old form, contracts it
// and raises schema_version.oldest_migration to the first migration that such servers lack.
package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/tern/v2/migrate"
)

// FS holds the migrations, in the form that tern reads.
//
//go:embed *.sql
var FS embed.FS

// Waiting for locks. While a migration waits for a lock, every request that needs the same table
// waits behind it. So it waits for a short time only, lets the requests pass, and begins again.
const (
	lockTimeout   = 5 * time.Second
	lockPause     = 2 * time.Second
	lockAttempts  = 20
	lockNotGained = "55P03" // lock_not_available
)

// Apply brings the schema up to date. Servers that start at the same time take turns with tern's
// advisory lock; all except the first find nothing to do. Apply also returns nil if the schema is
// newer than this server, but still compatible with it. dsn names the database and the owner of
// the schema.
func Apply(ctx context.Context, dsn string) error {
	if err := apply(ctx, dsn, FS); err != nil {
		return err
	}
	return grant(ctx, dsn)
}

// grant gives the role of ingress processes its rights, if the role has been created since the migration (037_ingresses.sql).
func grant(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect to postgres to migrate: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, "DO $$ BEGIN IF to_regprocedure('grant_ingress()') IS NOT NULL THEN PERFORM grant_ingress(); END IF; END $$")
	if err != nil {
		return fmt.Errorf("grant the role of ingress processes its rights: %w", err)
	}
	return nil
}

func apply(ctx context.Context, dsn string, files fs.FS) error {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return fmt.Errorf("connect to postgres to migrate: %w", err)
	}
	// As a parameter of the connection, because tern resets all settings after each migration.
	cfg.RuntimeParams["lock_timeout"] = fmt.Sprint(lockTimeout.Milliseconds())
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect to postgres to migrate: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	m, err := migrate.NewMigrator(ctx, conn, "schema_version")
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	if err := m.LoadMigrations(files); err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	for attempt := 1; ; attempt++ {
		newer, err := newerSchema(ctx, conn, m)
		if newer || err != nil {
			return err
		}
		err = m.Migrate(ctx)
		_, overtaken := errors.AsType[migrate.BadVersionError](err) // by a newer server, a moment ago
		switch pg, _ := errors.AsType[*pgconn.PgError](err); {
		case err == nil:
			return nil
		case pg != nil && pg.Code == lockNotGained && attempt < lockAttempts, overtaken && attempt == 1:
		default:
			return fmt.Errorf("migrate the schema: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPause):
		}
	}
}

// newerSchema reports whether the schema is newer than the migrations. It returns an error if the
// schema has also lost what servers with these migrations need.
func newerSchema(ctx context.Context, conn *pgx.Conn, m *migrate.Migrator) (bool, error) {
	version, err := m.GetCurrentVersion(ctx)
	if err != nil {
		return false, fmt.Errorf("read the version of the schema: %w", err)
	}
	known := len(m.Migrations)
	if int(version) <= known {
		return false, nil
	}
	var oldest int
	if err := conn.QueryRow(ctx, "SELECT oldest_migration FROM schema_version").Scan(&oldest); err != nil {
		return false, fmt.Errorf("read which servers the schema is compatible with: %w", err)
	}
	if known < oldest {
		return false, fmt.Errorf("the schema of the database is at version %d, and this server knows version %d; "+
			"the oldest that works is %d: start a newer huskd", version, known, oldest)
	}
	return true, nil
}
