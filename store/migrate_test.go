// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"

	"husk/dev/devtest"
	"husk/migrations"
	"husk/store"
)

// schema is a database with an early version of the schema. Tests fill it with rows and then
// migrate it.
type schema struct {
	t    *testing.T
	conn *pgx.Conn
	url  devtest.URL
}

func schemaAt(t *testing.T, version int32) schema {
	t.Helper()
	url := devtest.Postgres(t)
	s := schema{t, connect(t, url(store.RoleOwner)), url}
	s.migrate(version)
	return s
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	must(t, conn, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// as returns the same database with another role, because row-level security applies to the owner
// too.
func (s schema) as(role string) schema {
	s.t.Helper()
	return schema{s.t, connect(s.t, s.url(role)), s.url}
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

// want checks the result of a query that returns one text.
func (s schema) want(sql, want string) {
	s.t.Helper()
	var got string
	if err := s.conn.QueryRow(s.t.Context(), sql).Scan(&got); err != nil || got != want {
		s.t.Errorf("%s returns %q, want %q: %v", sql, got, want, err)
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
			t.Errorf("%s is accepted", refused)
		}
	}
	s.exec(`INSERT INTO node_certificates (serial, node_id, expires_at) VALUES ('01', '00000000-0000-4000-8000-000000000002', now())`)
	s.exec(`DELETE FROM nodes`)
	s.want(`SELECT count(*)::text FROM node_certificates`, "0")
}

func TestTenantsKeepTheirKeysWhenTheyGetServiceAccounts(t *testing.T) {
	t.Parallel()
	s := schemaAt(t, 1)
	s.exec(`INSERT INTO tenants VALUES ('00000000-0000-4000-8000-000000000001', 'acme', 7, 1, 1, 1, 1, 1), ('00000000-0000-4000-8000-000000000002', 'without', 1, 1, 1, 1, 1, 1)`)
	s.exec(`INSERT INTO credentials (client_id, kind, tenant_id, name, secret_hash, last_used_at) VALUES
		('00000000-0000-4000-8000-000000000003', 'tenant', '00000000-0000-4000-8000-000000000001', 'ci', sha256('one'), now()),
		('00000000-0000-4000-8000-000000000004', 'tenant', '00000000-0000-4000-8000-000000000001', 'laptop', sha256('two'), NULL)`)
	s.exec(`INSERT INTO credentials (client_id, kind, name, secret_hash) VALUES ('00000000-0000-4000-8000-000000000005', 'operator', 'first-operator', sha256('three'))`)
	s.as(store.RoleControl).exec(`INSERT INTO events (tenant_id, kind, object_id, reason) VALUES ('00000000-0000-4000-8000-000000000001', 'pod', gen_random_uuid(), 'Accepted'),
		('00000000-0000-4000-8000-000000000001', 'pod', gen_random_uuid(), 'Placed')`)
	s.exec(`INSERT INTO signing_keys (kid, private_key, public_key) VALUES ('k', '\x01', '\x02')`)
	s.migrate(2)
	s = s.as(store.RoleControl)
	s.want(`SELECT string_agg(k.name || ' ' || a.name || '/' || a.role || ' ' || (k.last_used_at IS NOT NULL), ',' ORDER BY k.name)
		FROM api_keys k JOIN service_accounts a ON a.tenant_id = k.tenant_id AND a.id = k.service_account_id
		WHERE k.secret_hash IN (sha256('one'), sha256('two'))`, "ci owner/owner true,laptop owner/owner false")
	s.want(`SELECT string_agg(kind || ' ' || name, ',') FROM credentials`, "operator first-operator")
	s.want(`SELECT string_agg(name || ' ' || quota_pods || ' ' || quota_addresses, ',' ORDER BY name) FROM tenants`, "acme 7 7,without 1 1")
	s.want(`SELECT string_agg(reason, ',' ORDER BY at) FROM events`, "Accepted,Placed")
	s.want(`SELECT (signs_from = created_at)::text FROM signing_keys`, "true")
}

func TestPendingPodsAreStillScheduledAfterTheMigration(t *testing.T) {
	t.Parallel()
	s := schemaAt(t, 3)
	s.exec(`INSERT INTO tenants VALUES ('00000000-0000-4000-8000-000000000001', 'acme', 1, 1, 1, 1, 1, 1, now(), false, 1, 1, 1, 1)`)
	s.exec(`INSERT INTO nodes (id, name) VALUES ('00000000-0000-4000-8000-000000000002', 'metal-1')`)
	control := s.as(store.RoleControl)
	control.exec(`INSERT INTO networks (tenant_id, id, ordinal, cidr) VALUES ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000003', 0, '10.64.0.0/24')`)
	control.exec(`INSERT INTO pods (tenant_id, id, name, labels, spec, cpu_millis, memory_mib, network_id, address, mac, phase, node_id, holds_room, ceph_key) VALUES
		('00000000-0000-4000-8000-000000000001', gen_random_uuid(), 'waits', '{}', '{}', 1, 1, '00000000-0000-4000-8000-000000000003', '10.64.0.2', '02:00:00:00:00:01', 'Pending', NULL, false, NULL),
		('00000000-0000-4000-8000-000000000001', gen_random_uuid(), 'runs', '{}', '{}', 1, 1, '00000000-0000-4000-8000-000000000003', '10.64.0.3', '02:00:00:00:00:02', 'Running', '00000000-0000-4000-8000-000000000002', true, '\x01')`)
	s.migrate(4)
	control.want(`SELECT string_agg(name, ',') FROM pods WHERE phase = 'Pending' AND next_try_at IS NULL AND tries = 0`, "waits")
	control.want(`SELECT count(*)::text FROM pods WHERE ceph_key IS NULL AND holds_room`, "0")
	control.want(`SELECT string_agg(node_name, ',' ORDER BY name) FROM pods`, "metal-1,")
}

func TestExistingPodsAndNodesGetDefaultsForScheduling(t *testing.T) {
	t.Parallel()
	s := schemaAt(t, 4)
	s.exec(`INSERT INTO tenants VALUES ('00000000-0000-4000-8000-000000000001', 'acme', 1, 1, 1, 1, 1, 1, now(), false, 1, 1, 1, 1)`)
	s.exec(`INSERT INTO nodes (id, name, state, cpu_millis, memory_mib, allocated_cpu_millis, allocated_memory_mib) VALUES ('00000000-0000-4000-8000-000000000002', 'metal-1', 'Ready', 4000, 8192, 4000, 1024)`)
	control := s.as(store.RoleControl)
	control.exec(`INSERT INTO networks (tenant_id, id, ordinal, cidr) VALUES ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000003', 0, '10.64.0.0/24')`)
	control.exec(`INSERT INTO pods (tenant_id, id, name, labels, spec, cpu_millis, memory_mib, network_id, address, mac, phase, node_id, holds_room) VALUES
		('00000000-0000-4000-8000-000000000001', gen_random_uuid(), 'waits', '{}', '{}', 1, 1, '00000000-0000-4000-8000-000000000003', '10.64.0.2', '02:00:00:00:00:01', 'Pending', NULL, false),
		('00000000-0000-4000-8000-000000000001', gen_random_uuid(), 'runs', '{}', '{}', 4000, 1024, '00000000-0000-4000-8000-000000000003', '10.64.0.3', '02:00:00:00:00:02', 'Running', '00000000-0000-4000-8000-000000000002', true)`)
	s.migrate(5)
	control.want(`SELECT string_agg(name || ' ' || priority || ' ' || evicted || ' ' || placed_generation, ',' ORDER BY name) FROM pods`, "runs 0 false 0,waits 0 false 0")
	control.want(`SELECT name || ' ' || schedulable_cpu_millis || ' ' || cordoned || ' ' || COALESCE(pool, 'none') FROM nodes`, "metal-1 4000 false none")
	control.want(`SELECT quota_priority::text FROM tenants`, "0")
	if _, err := control.conn.Exec(t.Context(), `UPDATE nodes SET allocated_cpu_millis = 4001`); err == nil {
		t.Error("a node's allocation may exceed its schedulable CPU")
	}
}

func TestAuditEntriesGetADetail(t *testing.T) {
	t.Parallel()
	s := schemaAt(t, 6)
	s.as(store.RoleControl).exec(`INSERT INTO audit (id, operation, actor_kind, actor_id, actor_name, request_id)
		VALUES ('00000000-0000-4000-8000-000000000001', 'createPod', 'operator', '00000000-0000-4000-8000-000000000002', 'first', 'r')`)
	s.migrate(7)
	s.as(store.RoleControl).want(`SELECT operation || '/' || detail FROM audit`, "createPod/")
}

func TestTheUsageOfExistingVolumesBeginsWithTheLedger(t *testing.T) {
	t.Parallel()
	s := schemaAt(t, 5)
	s.exec(`INSERT INTO tenants (id, name, quota_pods, quota_cpu_millis, quota_memory_mib, quota_volumes, quota_volume_gib, quota_images, quota_snapshots, quota_networks, quota_addresses, quota_requests_per_second)
		VALUES ('00000000-0000-4000-8000-000000000001', 'acme', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)`)
	control := s.as(store.RoleControl)
	control.exec(`INSERT INTO volumes (tenant_id, id, name, labels, size_gib, state) VALUES
		('00000000-0000-4000-8000-000000000001', gen_random_uuid(), 'there', '{"app": "db"}', 7, 'Available'),
		('00000000-0000-4000-8000-000000000001', gen_random_uuid(), 'coming', '{}', 1, 'Creating')`)
	s.migrate(6)
	control.want(`SELECT string_agg(i.name || ' ' || i.size_gib || ' ' || (i.labels ->> 'app'), ',') FROM usage_open o JOIN usage_intervals i ON i.id = o.interval_id`, "there 7 db")
}

func TestPodsGetSamplesThatTenantsCannotRead(t *testing.T) {
	t.Parallel()
	s := schemaAt(t, 7)
	s.exec(`INSERT INTO tenants (id, name, quota_pods, quota_cpu_millis, quota_memory_mib, quota_volumes, quota_volume_gib, quota_images, quota_snapshots, quota_networks, quota_addresses, quota_requests_per_second)
		VALUES ('00000000-0000-4000-8000-000000000001', 'acme', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)`)
	s.exec(`INSERT INTO nodes (id, name) VALUES ('00000000-0000-4000-8000-000000000002', 'metal-1')`)
	control := s.as(store.RoleControl)
	control.exec(`INSERT INTO networks (tenant_id, id, ordinal, cidr) VALUES ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000003', 0, '10.64.0.0/24')`)
	control.exec(`INSERT INTO pods (tenant_id, id, name, labels, spec, cpu_millis, memory_mib, network_id, address, mac, phase, node_id, holds_room) VALUES
		('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000004', 'runs', '{}', '{}', 1, 1, '00000000-0000-4000-8000-000000000003', '10.64.0.3', '02:00:00:00:00:02', 'Running', '00000000-0000-4000-8000-000000000002', true)`)
	s.migrate(8)
	control.exec(`INSERT INTO pod_samples (tenant_id, pod_id, node_id, figures) SELECT tenant_id, id, node_id, '{"cpuNanos": 7}' FROM pods`)
	control.want(`SELECT p.name || ' ' || (x.figures ->> 'cpuNanos') FROM pods p JOIN pod_samples x ON x.pod_id = p.id WHERE p.phase = 'Running'`, "runs 7")
	s.want(`SELECT relpersistence::text FROM pg_class WHERE relname = 'pod_samples'`, "u")
	if _, err := s.as(store.RoleTenant).conn.Exec(t.Context(), `SELECT FROM pod_samples`); err == nil {
		t.Error("a tenant's transaction can read samples")
	}
}

func TestExistingKeysHaveNoLimit(t *testing.T) {
	t.Parallel()
	s := schemaAt(t, 8)
	s.exec(`INSERT INTO tenants (id, name, quota_pods, quota_cpu_millis, quota_memory_mib, quota_volumes, quota_volume_gib, quota_images, quota_snapshots, quota_networks, quota_addresses, quota_requests_per_second)
		VALUES ('00000000-0000-4000-8000-000000000001', 'acme', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)`)
	control := s.as(store.RoleControl)
	control.exec(`INSERT INTO service_accounts (tenant_id, id, name, role) VALUES ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002', 'ci', 'viewer')`)
	control.exec(`INSERT INTO api_keys (tenant_id, client_id, service_account_id, name, secret_hash)
		VALUES ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000003', '00000000-0000-4000-8000-000000000002', 'k', '\x01')`)
	s.migrate(9)
	control.want(`SELECT name || '/' || limited_to FROM api_keys`, "k/")
	tenant := s.as(store.RoleTenant)
	const caller = `'00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-000000000003', 'viewer'`
	old, limited := `SELECT begin_tenant(`+caller+`)::text`, `SELECT begin_tenant(`+caller+`, 'metrics')::text` // as an earlier and as a current server call it
	tenant.want(old, "true")
	tenant.want(limited, "false")
	control.exec(`UPDATE api_keys SET limited_to = 'metrics'`)
	tenant.want(old, "false")
	tenant.want(limited, "true")
	if _, err := control.conn.Exec(t.Context(), `UPDATE api_keys SET limited_to = 'usage'`); err == nil {
		t.Error("an unknown limit is accepted")
	}
}

func TestExistingImagesHaveNoProgress(t *testing.T) {
	t.Parallel()
	s := schemaAt(t, 9)
	s.exec(`INSERT INTO tenants (id, name, quota_pods, quota_cpu_millis, quota_memory_mib, quota_volumes, quota_volume_gib, quota_images, quota_snapshots, quota_networks, quota_addresses, quota_requests_per_second)
		VALUES ('00000000-0000-4000-8000-000000000001', 'acme', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)`)
	control := s.as(store.RoleControl)
	control.exec(`INSERT INTO images (tenant_id, id, reference, digest, state, config) VALUES
		('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002', 'a', 'sha256:1', 'Ready', '{}'),
		('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000003', 'b', 'sha256:2', 'Importing', '{}')`)
	s.migrate(10)
	control.want(`SELECT string_agg(reference || ' ' || state || ' ' || (fetched_bytes IS NULL AND total_bytes IS NULL), ',' ORDER BY reference) FROM images`, "a Ready true,b Importing true")
	control.exec(`UPDATE images SET fetched_bytes = 3, total_bytes = 5 WHERE state = 'Importing'`)
	// As an earlier server ends an import.
	control.exec(`UPDATE images SET state = 'Ready', message = '', size_bytes = 1, clone_id = 'x', registry_auth = NULL, ready_at = clock_timestamp() WHERE state = 'Importing'`)
	s.as(store.RoleTenant).want(`SELECT count(*)::text FROM images`, "0")
	if _, err := control.conn.Exec(t.Context(), `UPDATE images SET fetched_bytes = 6, total_bytes = 5`); err == nil {
		t.Error("the fetched bytes may exceed the total")
	}
}

// A server of the previous version recorded traffic per report, and closes hours itself. The totals follow it.
func TestTheTotalsOfTheLedgerStartFromWhatWasRecorded(t *testing.T) {
	t.Parallel()
	s := schemaAt(t, 12)
	control := s.as(store.RoleControl)
	interval := func(name string) string {
		return `WITH i AS (INSERT INTO usage_intervals (tenant_id, kind, object_id, name, labels, started_at)
			VALUES (gen_random_uuid(), 'pod', gen_random_uuid(), '` + name + `', '{}', '2026-01-01 00:00Z') RETURNING id, tenant_id) INSERT INTO usage_open SELECT id, tenant_id FROM i`
	}
	hours := func(hour string) string {
		return `INSERT INTO usage_hours SELECT id, tenant_id, '` + hour + `', 3600, 10, 0 FROM usage_intervals WHERE name <> 'ended'`
	}
	control.exec(interval("open"))
	control.exec(interval("ended"))
	control.exec(`INSERT INTO usage_ends (interval_id, tenant_id, ended_at, recorded_at) SELECT id, tenant_id, '2026-01-01 00:30Z', '2026-01-01 00:30Z' FROM usage_intervals WHERE name = 'ended'`)
	control.exec(`DELETE FROM usage_open o USING usage_ends e WHERE e.interval_id = o.interval_id`)
	control.exec(`INSERT INTO usage_traffic SELECT id, tenant_id, '2026-01-01 00:00Z'::timestamptz + n * interval '1 minute', n, 0 FROM usage_intervals, generate_series(1, 90) n`)
	control.exec(hours("2026-01-01 00:00Z"))
	control.exec(`INSERT INTO usage_closed_hours VALUES ('2026-01-01 00:00Z', '2026-01-02 00:00Z')`)
	s.migrate(13)
	totals := `SELECT string_agg(i.name || ' ' || t.received_bytes || ' ' || COALESCE(t.recorded_seconds::text, 'not summed'), ',' ORDER BY i.id) FROM usage_totals t JOIN usage_intervals i ON i.id = t.interval_id`
	control.want(totals, "open 90 not summed")
	control.exec(interval("new"))
	control.exec(`INSERT INTO usage_traffic SELECT id, tenant_id, '2026-01-01 02:00Z', 200, 0 FROM usage_intervals WHERE name <> 'ended'`)
	control.exec(hours("2026-01-01 01:00Z"))
	control.want(totals, "open 200 not summed,new 200 3600")
}

// A pod whose phase was Unknown runs, as far as is known, or starts if it never ran.
func TestPodsOfTheUnknownPhaseGetTheOneThatWasKnown(t *testing.T) {
	t.Parallel()
	s := schemaAt(t, 56)
	s.exec(`INSERT INTO tenants (id, name, quota_pods, quota_cpu_millis, quota_memory_mib, quota_volumes, quota_volume_gib, quota_images, quota_snapshots, quota_networks, quota_addresses, quota_requests_per_second)
		VALUES ('00000000-0000-4000-8000-000000000001', 'acme', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)`)
	s.exec(`INSERT INTO nodes (id, name) VALUES ('00000000-0000-4000-8000-000000000002', 'metal-1')`)
	control := s.as(store.RoleControl)
	control.exec(`INSERT INTO networks (tenant_id, id, ordinal, cidr) VALUES ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000003', 0, '10.64.0.0/24')`)
	control.exec(`INSERT INTO pods (tenant_id, id, name, labels, spec, cpu_millis, memory_mib, network_id, address, mac, phase, reason, running_at, node_id, holds_room)
		SELECT '00000000-0000-4000-8000-000000000001', gen_random_uuid(), name, '{}', '{}', 1, 1, '00000000-0000-4000-8000-000000000003', address::inet, '02:00:00:00:00:01', phase, reason, running_at, '00000000-0000-4000-8000-000000000002', phase = 'Unknown' FROM (VALUES
			('ran', '10.64.0.2', 'Unknown', 'NodeLost', now()), ('starts', '10.64.0.3', 'Unknown', 'NodeLost', NULL), ('failed', '10.64.0.4', 'Failed', 'Error', now())) p (name, address, phase, reason, running_at)`)
	s.migrate(57)
	control.want(`SELECT string_agg(concat_ws(' ', name, phase, reason, unknown_since IS NOT NULL), ',' ORDER BY name) FROM pods`, "failed Failed Error f,ran Running  t,starts Starting  t")
	control.exec(`UPDATE pods SET observed_generation = 1 WHERE name = 'ran'`)
	control.want(`SELECT string_agg(name, ',') FROM pods WHERE unknown_since IS NOT NULL`, "starts")
}

// Copies that wait or are being made become work of their own kind. A server of the previous version ends the copy that it makes.
func TestTheFlatteningOfExistingVolumesIsWorkOfItsOwn(t *testing.T) {
	t.Parallel()
	s := schemaAt(t, 51)
	s.exec(`INSERT INTO tenants (id, name, quota_pods, quota_cpu_millis, quota_memory_mib, quota_volumes, quota_volume_gib, quota_images, quota_snapshots, quota_networks, quota_addresses, quota_requests_per_second)
		VALUES ('00000000-0000-4000-8000-000000000001', 'acme', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)`)
	control := s.as(store.RoleControl)
	control.exec(`INSERT INTO snapshots (tenant_id, id, name, labels, volume_id, volume_name, size_gib, state)
		VALUES ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002', 's', '{}', gen_random_uuid(), 'v', 1, 'Ready')`)
	volume := func(name, flatten string) string {
		return `INSERT INTO volumes (tenant_id, id, name, labels, size_gib, state, snapshot_id, flatten)
			VALUES ('00000000-0000-4000-8000-000000000001', gen_random_uuid(), '` + name + `', '{}', 1, 'Creating', '00000000-0000-4000-8000-000000000002', ` + flatten + `)`
	}
	control.exec(volume("clone", "false"))
	control.exec(volume("flat", "true"))
	control.exec(`UPDATE work SET claimed_epoch = 1, claim_expires_at = now() + interval '1 hour', attempts = 1`)
	s.migrate(52)
	kinds := `SELECT string_agg(v.name || ' ' || w.kind || ' ' || w.attempts, ',' ORDER BY v.name) FROM work w JOIN volumes v ON v.id = w.object_id`
	control.want(kinds, "clone volume-clone 1,flat volume-flatten 1")
	control.exec(volume("new", "true"))
	control.exec(`UPDATE volumes SET state = 'Available', snapshot_id = NULL, flatten = false WHERE name = 'flat'`)
	control.want(kinds, "clone volume-clone 1,new volume-flatten 0")
}
