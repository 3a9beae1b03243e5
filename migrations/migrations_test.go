// SPDX-License-Identifier: Apache-2.0

package migrations

import (
	"context"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"husk/dev/devtest"
)

func TestMain(m *testing.M) { devtest.Main(m) }

// owner is the role that owns the schema, which store.RoleOwner names.
const owner = "husk_owner"

// known returns the migrations that a server knew when it was n versions older.
func known(t *testing.T, older int) fs.FS {
	t.Helper()
	names, err := fs.Glob(FS, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, name := range names[:len(names)-older] {
		raw, err := fs.ReadFile(FS, name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: raw}
	}
	return files
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestAnOlderServerStartsOnACompatibleSchema(t *testing.T) {
	t.Parallel()
	dsn := devtest.Postgres(t)(owner)
	for range 2 { // the second time, there is nothing to do
		if err := Apply(t.Context(), dsn); err != nil {
			t.Fatal(err)
		}
	}
	if err := apply(t.Context(), dsn, known(t, 1)); err != nil {
		t.Errorf("a server that does not know the newest migration does not start: %v", err)
	}
	exec(t, connect(t, dsn), "UPDATE schema_version SET oldest_migration = version")
	err := apply(t.Context(), dsn, known(t, 1))
	if err == nil || !strings.Contains(err.Error(), "start a newer huskd") {
		t.Errorf("a server starts although its schema has lost what it needs: %v", err)
	}
	if err := Apply(t.Context(), dsn); err != nil {
		t.Errorf("the newest server does not start: %v", err)
	}
}

// A migration waits for a long transaction. Other requests for the same table do not wait with it.
func TestRequestsContinueWhileAMigrationWaitsForALock(t *testing.T) {
	t.Parallel()
	dsn := devtest.Postgres(t)(owner)
	if err := apply(t.Context(), dsn, known(t, 1)); err != nil {
		t.Fatal(err)
	}
	files := known(t, 1).(fstest.MapFS)
	names, err := fs.Glob(FS, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	files[strings.Replace(names[len(names)-1], ".sql", "_test.sql", 1)] = &fstest.MapFile{Data: []byte("ALTER TABLE nodes ADD COLUMN added integer;")}
	long, request, watch := connect(t, dsn), connect(t, dsn), connect(t, dsn)
	exec(t, long, "BEGIN; SELECT FROM nodes")
	applied := make(chan error, 1)
	go func() { applied <- apply(t.Context(), dsn, files) }()
	waiting := func() (waits bool) {
		row := watch.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'nodes'::regclass)")
		if err := row.Scan(&waits); err != nil {
			t.Fatal(err)
		}
		return waits
	}
	for deadline := time.Now().Add(time.Minute); !waiting(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the migration does not wait for the lock")
		}
	}
	exec(t, request, "SET statement_timeout = '30s'")
	exec(t, request, "SELECT FROM nodes") // waits behind the migration, until the migration gives up for a moment
	exec(t, long, "COMMIT")
	if err := <-applied; err != nil {
		t.Errorf("the migration failed although the lock is free: %v", err)
	}
	exec(t, request, "SELECT added FROM nodes")
}

// TestTheRoleOfIngressProcessesCanBeCreatedLater starts a server, then creates the role, and starts servers again.
func TestTheRoleOfIngressProcessesCanBeCreatedLater(t *testing.T) {
	t.Parallel()
	url := devtest.Postgres(t)
	if err := Apply(t.Context(), url(owner)); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, url(owner))
	// As if the role had not existed: roles belong to all databases, so a test cannot drop it.
	exec(t, conn, `DO $$ DECLARE p record; BEGIN
		FOR p IN SELECT tablename FROM pg_policies WHERE policyname = 'ingress' LOOP
			EXECUTE format('DROP POLICY ingress ON %I', p.tablename);
			EXECUTE format('REVOKE ALL ON %I FROM husk_ingress', p.tablename);
		END LOOP; END $$`)
	ended := make(chan error, 2)
	for range 2 {
		go func() { ended <- Apply(t.Context(), url(owner)) }()
	}
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	exec(t, connect(t, url("husk_ingress")), "SELECT host FROM ingress_hosts")
}
