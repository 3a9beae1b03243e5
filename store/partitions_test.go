// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk/store"
)

// monthStart returns the beginning of the month that is so many months after this one.
func monthStart(months int) time.Time {
	now := time.Now().UTC()
	return time.Date(now.Year(), now.Month()+time.Month(months), 1, 0, 0, 0, 0, time.UTC)
}

// partitionOf returns the partition that the only row of a table is in.
func (h fixture) partitionOf(table string) string {
	h.t.Helper()
	return queryOne[string](h, store.RoleControl, "SELECT string_agg(DISTINCT tableoid::regclass::text, ',') FROM "+table)
}

// A row is never lost: without a partition for its month, it is in the default partition, and moves when the partition is made. Old events are
// dropped as a table. The servers cannot drop audit entries or usage.
func TestRowsAreInThePartitionOfTheirMonth(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	insert := func(at time.Time) {
		t.Helper()
		if _, err := h.connect(store.RoleControl).Exec(t.Context(), "INSERT INTO events (tenant_id, kind, object_id, reason, at) VALUES ($1, 'pod', $2, 'Running', $3)", tenant.ID, uuid.New(), at); err != nil {
			t.Fatal(err)
		}
	}
	clear := func() {
		t.Helper()
		if _, err := h.connect(store.RoleControl).Exec(t.Context(), "DELETE FROM events"); err != nil {
			t.Fatal(err)
		}
	}
	clear()
	insert(monthStart(-2).Add(time.Hour)) // its month ended more than 14 days ago
	insert(time.Now())
	made, dropped, outside, err := h.TendPartitions(t.Context())
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM events"); err != nil || n != 1 || made != 0 || dropped == 0 || outside["events"] != 0 {
		t.Errorf("after %d partitions were made and %d dropped, %d rows are left, want the one of today, and %v are outside: %v", made, dropped, n, outside, err)
	}
	clear()
	future := monthStart(5).Add(time.Hour)
	insert(future)
	_, _, outside, err = h.TendPartitions(t.Context())
	if got := h.partitionOf("events"); err != nil || got != "partitions.events_default" || outside["events"] != 1 {
		t.Errorf("a row of a month without a partition is in %s, and %v are outside: %v", got, outside, err)
	}
	if made := queryOne[int](h, store.RoleControl, "SELECT make_partitions(6)"); made != 3*4 {
		t.Errorf("%d partitions were made, want those of three more months for four tables", made)
	}
	if got, want := h.partitionOf("events"), "partitions.events"+future.Format("_2006_01"); got != want {
		t.Errorf("after its partition was made, the row is in %s, want %s", got, want)
	}
	insert(monthStart(7).Add(time.Hour)) // outside again, and there is a default partition to take it
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM events"); n != 2 {
		t.Errorf("there are %d rows, want 2", n)
	}
	for _, refused := range []string{"drop_partitions('audit', interval '400 days')", "drop_partitions('usage_hours', interval '400 days')", "drop_partitions('events', interval '1 day')"} {
		for _, role := range []string{store.RoleControl, store.RoleOwner} {
			if _, err := h.connect(role).Exec(t.Context(), "SELECT "+refused); err == nil || !strings.Contains(err.Error(), "superuser") {
				t.Errorf("%s: %s returns %v", role, refused, err)
			}
		}
		if _, err := h.connect(store.RoleTenant).Exec(t.Context(), "SELECT "+refused); err == nil {
			t.Errorf("a tenant's transaction can do %s", refused)
		}
	}
	for _, role := range []string{store.RoleControl, store.RoleTenant} {
		for _, part := range []string{"partitions.events_default", "partitions.audit" + time.Now().UTC().Format("_2006_01"), "partitions.usage_hours_default"} {
			if _, err := h.connect(role).Exec(t.Context(), "SELECT FROM "+part); err == nil {
				t.Errorf("%s can read %s without the row-level security of the whole table", role, part)
			}
		}
	}
}

// A migration keeps the rows of the previous version, in one partition, and the previous version continues to work with them.
func TestRowsFromBeforeThePartitionsStay(t *testing.T) {
	t.Parallel()
	s := schemaAt(t, 16)
	s.exec(`INSERT INTO tenants (id, name, quota_pods, quota_cpu_millis, quota_memory_mib, quota_volumes, quota_volume_gib, quota_images, quota_snapshots, quota_networks, quota_addresses, quota_requests_per_second)
		VALUES ('00000000-0000-4000-8000-000000000001', 'acme', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)`)
	control, tenant := s.as(store.RoleControl), s.as(store.RoleTenant)
	event := `INSERT INTO events (tenant_id, kind, object_id, reason, at) VALUES ('00000000-0000-4000-8000-000000000001', 'pod', gen_random_uuid(), 'Running', now() - interval '%')`
	audit := `INSERT INTO audit (id, at, operation, actor_kind, actor_id, actor_name, request_id) VALUES (gen_random_uuid(), now() - interval '%', 'createPod', 'operator', gen_random_uuid(), 'first', 'r')`
	old := func(sql string) string { return strings.Replace(sql, "%", "400 days", 1) }
	control.exec(old(event))
	control.exec(old(audit))
	control.exec(`INSERT INTO usage_intervals (tenant_id, kind, object_id, name, labels, started_at) VALUES ('00000000-0000-4000-8000-000000000001', 'pod', gen_random_uuid(), 'web', '{}', '2026-01-01 00:00Z')`)
	control.exec(`INSERT INTO usage_traffic SELECT id, tenant_id, '2026-01-01 00:30Z', 7, 0 FROM usage_intervals`)
	control.exec(`INSERT INTO usage_hours SELECT id, tenant_id, '2026-01-01 00:00Z', 3600, 7, 0 FROM usage_intervals`)
	control.exec(`INSERT INTO usage_closed_hours VALUES ('2026-01-01 00:00Z')`)
	const totals = `SELECT received_bytes || ' ' || recorded_seconds || ' ' || recorded_received FROM usage_totals`
	control.want(totals, "7 3600 7")
	live := `SELECT count(*)::text || ' ' || sum(received_bytes) FROM usage_live WHERE hour < '2026-01-01 03:00Z'`
	control.want(live, "2 0")
	s.migrate(17)
	for _, table := range []string{"events", "audit", "usage_hours", "usage_traffic"} {
		control.want(`SELECT string_agg(tableoid::regclass::text, ',') FROM `+table, "partitions."+table+"_before")
	}
	control.want(live, "2 0")
	control.exec(strings.Replace(event, "%", "0", 1))
	control.exec(strings.Replace(audit, "%", "0", 1))
	control.exec(`INSERT INTO usage_traffic SELECT id, tenant_id, '2026-01-01 01:30Z', 17, 0 FROM usage_intervals`)
	control.exec(`INSERT INTO usage_hours SELECT id, tenant_id, '2026-01-01 01:00Z', 3600, 10, 0 FROM usage_intervals`)
	control.want(totals, "17 7200 17")
	control.want(`SELECT count(*)::text FROM events`, "2")
	tenant.want(`SELECT count(*)::text FROM events`, "0") // row-level security
	tenant.want(`SELECT count(*)::text FROM usage_hours`, "0")
	for _, refused := range []string{`DELETE FROM audit`, `UPDATE usage_hours SET seconds = 0`, `DELETE FROM usage_traffic`, `TRUNCATE partitions.usage_hours_before`} {
		if _, err := s.conn.Exec(t.Context(), refused); err == nil {
			control.want(`SELECT count(*)::text || ' ' || (SELECT count(*) FROM usage_traffic) || ' ' || (SELECT sum(seconds) FROM usage_hours) FROM audit`, "2 2 7200")
		}
	}
	control.exec(`DELETE FROM events WHERE at < now() - interval '14 days'`) // as a server of the previous version does
	control.want(`SELECT count(*)::text FROM events`, "1")
	if _, err := control.conn.Exec(t.Context(), `INSERT INTO usage_hours SELECT gen_random_uuid(), hour, seconds FROM usage_hours`); err == nil {
		t.Error("usage without an interval is accepted")
	}
	s.exec(`UPDATE schema_version SET version = 16`) // the migration was interrupted before its end was recorded
	s.migrate(17)
	control.want(`SELECT count(*)::text FROM audit`, "2")
}
