// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store"
)

const (
	ledgerPods    = 100 // in one report
	ledgerReports = 50  // measured
)

// aged is a ledger with running pods of one age.
type aged struct {
	fixture
	node store.ID
	runs []husk.MachineRun // of ledgerPods pods
	next time.Time         // the hour to close
}

// agedLedger returns a ledger with this many running pods of this age. All hours before next are closed. The hours since the start have
// this many traffic rows each: one, or as many as servers of earlier versions wrote.
func agedLedger(b *testing.B, pods, days, trafficPerHour int) aged {
	b.Helper()
	h := open(b)
	tenant, node := h.tenant(), h.node(1)
	h.place(node.ID, h.createPod(tenant, specOf(h.image(tenant))))
	super, err := pgx.Connect(b.Context(), h.url("postgres"))
	must(b, super, err)
	defer super.Close(b.Context())
	next := time.Now().UTC().Truncate(time.Hour).Add(-time.Hour)
	start := next.Add(-time.Duration(days) * 24 * time.Hour)
	exec := func(sql string, args ...any) {
		b.Helper()
		if _, err := super.Exec(b.Context(), sql, args...); err != nil {
			b.Fatalf("%s: %v", sql, err)
		}
	}
	exec("UPDATE pods SET placed_at = $1", start)
	exec(`INSERT INTO pods (tenant_id, id, name, labels, spec, cpu_millis, memory_mib, network_id, address, mac, phase, node_id, node_name, placed_at)
		SELECT tenant_id, gen_random_uuid(), 'more-' || n, '{}', spec, 500, 128, network_id, address + n, mac, phase, node_id, node_name, placed_at FROM pods, generate_series(2, $1::int) n`, ledgerPods)
	exec(`INSERT INTO usage_intervals (tenant_id, kind, object_id, name, labels, node_id, cpu_millis, memory_mib, started_at)
		SELECT tenant_id, 'pod', id, name, labels, node_id, cpu_millis, memory_mib, placed_at FROM pods`)
	exec(`INSERT INTO usage_intervals (tenant_id, kind, object_id, name, labels, node_id, cpu_millis, memory_mib, started_at)
		SELECT i.tenant_id, 'pod', gen_random_uuid(), i.name, i.labels, i.node_id, i.cpu_millis, i.memory_mib, i.started_at FROM (SELECT * FROM usage_intervals LIMIT 1) i, generate_series($1::int + 1, $2::int)`, ledgerPods, pods)
	exec("INSERT INTO usage_open SELECT id, tenant_id FROM usage_intervals")
	exec("SET session_replication_role = replica") // past rows are written without triggers and foreign keys, which would take minutes
	exec(`INSERT INTO usage_hours SELECT i.id, i.tenant_id, hour, 3600, 1000, 1000 FROM usage_intervals i, generate_series($1::timestamptz, $2::timestamptz - interval '1 hour', interval '1 hour') hour`, start, next)
	exec(`INSERT INTO usage_traffic SELECT i.id, i.tenant_id, $1::timestamptz + (n - 0.5) * interval '1 hour' / $2::int, n * 1000 / $2::int, n * 1000 / $2::int
		FROM usage_intervals i, generate_series(1, $3::int) n`, start, trafficPerHour, days*24*trafficPerHour)
	exec(`INSERT INTO usage_closed_hours SELECT generate_series($1::timestamptz, $2::timestamptz - interval '1 hour', interval '1 hour')`, start, next)
	exec("RESET session_replication_role")
	exec("VACUUM ANALYZE")
	a := aged{fixture: h, node: node.ID, next: next}
	rows, err := super.Query(b.Context(), "SELECT id FROM pods")
	must(b, rows, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	for _, id := range must(b, ids, err) {
		a.runs = append(a.runs, husk.MachineRun{PodID: id, StartedAt: start, Traffic: husk.Traffic{ReceivedBytes: int64(days) * 24 * 1000, SentBytes: int64(days) * 24 * 1000}})
	}
	return a
}

// reports measures the report of all runs, with new traffic in each report, and returns the median.
func (a aged) reports(b *testing.B) time.Duration {
	b.Helper()
	var all []time.Duration
	for range ledgerReports {
		for i := range a.runs {
			a.runs[i].ReceivedBytes += 17
		}
		began := time.Now()
		if _, err := a.RecordRuns(b.Context(), a.node, a.runs); err != nil {
			b.Fatal(err)
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func milliseconds(d time.Duration) float64 { return 1000 * d.Seconds() }

// BenchmarkLedgerReport measures the report of a node with 100 pods. The floor is the same report about pods that are a day old.
func BenchmarkLedgerReport(b *testing.B) {
	young := agedLedger(b, ledgerPods, 1, 1).reports(b)
	month := agedLedger(b, ledgerPods, 30, 60).reports(b)
	old := agedLedger(b, ledgerPods, 400, 1).reports(b)
	fmt.Printf("\nreport of %d pods: 1 day old %.1f ms, 30 days old with a traffic row per minute %.1f ms (%.2f), 400 days old %.1f ms (%.2f; goal: under 20 ms)\n", ledgerPods,
		milliseconds(young), milliseconds(month), float64(month)/float64(young), milliseconds(old), float64(old)/float64(young))
	b.ReportMetric(milliseconds(old), "ms")
	b.ReportMetric(float64(old)/float64(young), "ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkLedgerClose measures how long it takes to close an hour. The floor is the same for as many pods that are a day old.
func BenchmarkLedgerClose(b *testing.B) {
	closing := func(pods, days int) time.Duration {
		a := agedLedger(b, pods, days, 1)
		began := time.Now()
		closed, err := a.CloseUsageHours(b.Context(), a.epoch(), a.next.Add(time.Hour+time.Hour/2))
		if err != nil || closed != 1 {
			b.Fatalf("%d hours were closed: %v", closed, err)
		}
		return time.Since(began)
	}
	young, old := closing(2000, 1), closing(2000, 30)
	fmt.Printf("\nclosing an hour with 2,000 pods: 1 day old %.0f ms, 30 days old %.0f ms (%.2f)\n", milliseconds(young), milliseconds(old), float64(old)/float64(young))
	many := closing(100_000, 1)
	fmt.Printf("closing an hour with 100,000 pods: %.1f s (goal: under 60)\n", many.Seconds())
	b.ReportMetric(many.Seconds(), "s")
	b.ReportMetric(float64(old)/float64(young), "ratio")
	b.ReportMetric(0, "ns/op")
}
