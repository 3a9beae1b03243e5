package store_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"

	"husk/dev/devtest"
	"husk/migrations"
	"husk/store"
)

// schema is a database whose schema stops at an early version, to be filled with rows and migrated on.
type schema struct {
	t    *testing.T
	conn *pgx.Conn
}

func schemaAt(t *testing.T, version int32) schema {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), devtest.Postgres(t)(store.RoleOwner))
	must(t, conn, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	s := schema{t, conn}
	s.migrate(version)
	return s
}

func (s schema) migrate(version int32) {
	s.t.Helper()
	m, err := migrate.NewMigrator(s.t.Context(), s.conn, "schema_version")
	must(s.t, m, err)
	if err := m.LoadMigrations(migrations.FS); err != nil {
		s.t.Fatal(err)
	}
	if err := m.MigrateTo(s.t.Context(), version); err != nil {
		s.t.Fatal(err)
	}
}

func (s schema) exec(sql string) {
	s.t.Helper()
	if _, err := s.conn.Exec(s.t.Context(), sql); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// want checks what a query for one text answers.
func (s schema) want(sql, want string) {
	s.t.Helper()
	var got string
	if err := s.conn.QueryRow(s.t.Context(), sql).Scan(&got); err != nil || got != want {
		s.t.Errorf("%s answers %q, want %q: %v", sql, got, want, err)
	}
}

func TestNodesSurviveTheirAgentsCredentials(t *testing.T) {
	t.Parallel()
	s := schemaAt(t, 2)
	s.exec(`INSERT INTO nodes (id, name, state, endpoint, certificate) VALUES ('00000000-0000-4000-8000-000000000002', 'metal-1', 'Ready', 'https://192.0.2.7:7443', 'PEM')`)
	s.exec(`INSERT INTO join_tokens VALUES ('\x01', now(), '00000000-0000-4000-8000-000000000002', now())`)
	s.exec(`INSERT INTO credentials (client_id, kind, node_id, name, secret_hash) VALUES
		('00000000-0000-4000-8000-000000000003', 'agent', '00000000-0000-4000-8000-000000000002', 'metal-1', '\x01')`)
	s.exec(`INSERT INTO credentials (client_id, kind, name, secret_hash) VALUES ('00000000-0000-4000-8000-000000000004', 'operator', 'first-operator', '\x02')`)
	s.migrate(3)
	s.want(`SELECT string_agg(name || ' ' || state || ' ' || endpoint, ',') FROM nodes`, "metal-1 Ready https://192.0.2.7:7443")
	s.want(`SELECT string_agg(kind, ',' ORDER BY kind) FROM credentials`, "operator")
	s.want(`SELECT count(*)::text FROM join_tokens WHERE readmits IS NULL AND node_id IS NOT NULL`, "1")
	for _, refused := range []string{
		`INSERT INTO credentials (client_id, kind, name, secret_hash) VALUES ('00000000-0000-4000-8000-000000000006', 'agent', 'x', '\x04')`,
		`INSERT INTO credentials (client_id, kind, name, secret_hash) VALUES ('00000000-0000-4000-8000-000000000006', 'tenant', 'x', '\x04')`,
	} {
		if _, err := s.conn.Exec(t.Context(), refused); err == nil {
			t.Errorf("%s is taken", refused)
		}
	}
	s.exec(`INSERT INTO node_certificates (serial, node_id, expires_at) VALUES ('01', '00000000-0000-4000-8000-000000000002', now())`)
	s.exec(`DELETE FROM nodes`)
	s.want(`SELECT count(*)::text FROM node_certificates`, "0")
}
