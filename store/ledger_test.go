// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"husk"
	"husk/store"
	"husk/store/ledger"
)

// past is a pod's interval in the past, and its traffic by hour.
type past struct {
	pod       uuid.UUID
	start     time.Time
	end       time.Time // zero: open
	traffic   []int64   // bytes received until the end of each hour, from the hour of the start
	endIsLate bool      // the end is reported after the first closing
}

// insertPasts adds intervals with their traffic, as the reports of the past would have done.
func (h fixture) insertPasts(t rapid.TB, tenant store.ID, node store.ID, all []past) {
	t.Helper()
	c := h.connect(store.RoleControl)
	defer c.Close(h.t.Context())
	exec := func(sql string, args ...any) {
		if _, err := c.Exec(h.t.Context(), sql, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for _, p := range all {
		exec(`WITH i AS (INSERT INTO usage_intervals (tenant_id, kind, object_id, name, labels, node_id, cpu_millis, started_at) VALUES ($1, 'pod', $2, 'pod', '{}', $3, 1000, $4) RETURNING id, tenant_id)
			INSERT INTO usage_open SELECT id, tenant_id FROM i`, tenant, p.pod, node, p.start)
		for n, bytes := range p.traffic {
			exec(`INSERT INTO usage_traffic SELECT id, tenant_id, $2, $3, 0 FROM usage_intervals WHERE object_id = $1`, p.pod, p.start.Truncate(time.Hour).Add(time.Duration(n+1)*time.Hour-time.Second), bytes)
		}
		if !p.end.IsZero() && !p.endIsLate {
			h.endPast(t, node, p)
		}
	}
}

func (h fixture) endPast(t rapid.TB, node store.ID, p past) {
	t.Helper()
	if _, err := h.RecordRuns(h.t.Context(), node, []husk.MachineRun{{PodID: p.pod, StartedAt: p.start, StoppedAt: &p.end}}); err != nil {
		t.Fatal(err)
	}
}

// seconds is the usage of an interval until a time, computed without the ledger.
func (p past) seconds(until time.Time) float64 {
	if !p.end.IsZero() && p.end.Before(until) {
		until = p.end
	}
	return math.Max(0, until.Sub(p.start).Seconds())
}

func (p past) bytes(until time.Time) int64 {
	n := min(int(until.Sub(p.start.Truncate(time.Hour))/time.Hour), len(p.traffic))
	if n <= 0 {
		return 0
	}
	return p.traffic[n-1]
}

// Whatever the intervals, the sizes of the batches and the moments at which ends are reported, the closed hours contain what a naive computation
// returns.
func TestTheLedgerAgreesWithANaiveComputation(t *testing.T) {
	t.Parallel()
	h := open(t)
	node := h.node(1).ID
	now := time.Now().UTC().Truncate(time.Hour)
	rapid.Check(t, func(t *rapid.T) {
		control := h.connect(store.RoleControl)
		defer control.Close(h.t.Context())
		tenant := uuid.New()
		first := now.Add(-5000 * time.Hour)              // each draw closes four hours
		if last := h.nextToClose(); last.Year() < 9000 { // hours of an earlier draw are closed
			first = last.Add(-time.Duration(rapid.IntRange(0, 3).Draw(t, "hours in closed ones")) * time.Hour)
		}
		var all []past
		for range rapid.IntRange(1, 12).Draw(t, "intervals") {
			p := past{pod: uuid.New(), start: first.Add(time.Duration(rapid.IntRange(0, 4*3600*1e6).Draw(t, "start")) * time.Microsecond)}
			if rapid.Bool().Draw(t, "ends") {
				p.end = p.start.Add(time.Duration(rapid.IntRange(0, 3*3600*1e6).Draw(t, "length")) * time.Microsecond)
				p.endIsLate = rapid.Bool().Draw(t, "end is late")
			}
			bytes := int64(0)
			for range rapid.IntRange(0, 5).Draw(t, "hours with traffic") {
				bytes += rapid.Int64Range(1, 1000).Draw(t, "bytes")
				p.traffic = append(p.traffic, bytes)
			}
			all = append(all, p)
		}
		h.insertPasts(t, tenant, node, all)
		closeTo := func(end time.Time) {
			for size := rapid.IntRange(1, 7).Draw(t, "batch"); ; {
				done, err := h.CloseUsageBatch(h.t.Context(), h.epoch(), end.Add(11*time.Minute), size)
				if err != nil {
					t.Fatal(err)
				}
				if done == ledger.Nothing {
					return
				}
			}
		}
		sum := func() (seconds float64, bytes int64) {
			if err := control.QueryRow(h.t.Context(), "SELECT COALESCE(sum(seconds), 0), COALESCE(sum(received_bytes), 0)::bigint FROM usage_hours WHERE tenant_id = $1", tenant).Scan(&seconds, &bytes); err != nil {
				t.Fatal(err)
			}
			return seconds, bytes
		}
		check := func(what string, end time.Time, known func(p past) past) {
			var seconds float64
			var bytes int64
			for _, p := range all {
				p = known(p)
				seconds += p.seconds(end)
				bytes += p.bytes(end)
			}
			gotSeconds, gotBytes := sum()
			if math.Abs(gotSeconds-seconds) > 1e-4 || gotBytes != bytes {
				t.Fatalf("%s, the closed hours have %v s and %d bytes, want %v s and %d bytes", what, gotSeconds, gotBytes, seconds, bytes)
			}
		}
		end := h.nextToClose().Add(2 * time.Hour)
		closeTo(end)
		check("before the late ends", end, func(p past) past {
			if p.endIsLate {
				p.end = time.Time{}
			}
			return p
		})
		for _, p := range all {
			if p.endIsLate {
				h.endPast(t, node, p)
			}
		}
		end = end.Add(2 * time.Hour)
		closeTo(end)
		check("after the late ends", end, func(p past) past { return p })
		var drift int
		if err := control.QueryRow(h.t.Context(), `SELECT count(*) FROM usage_totals t JOIN (SELECT interval_id, sum(seconds) AS seconds, sum(received_bytes) AS bytes FROM usage_hours GROUP BY 1) h USING (interval_id)
			WHERE abs(t.recorded_seconds - h.seconds) > 1e-4 OR t.recorded_received <> h.bytes`).Scan(&drift); err != nil || drift != 0 {
			t.Fatalf("the totals of %d intervals are not the sums of their hours: %v", drift, err)
		}
		for _, table := range []string{"usage_totals", "usage_open"} { // so that the next draw does not close the hours of these intervals too
			if _, err := control.Exec(h.t.Context(), "DELETE FROM "+table); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// nextToClose returns the hour that is closed next.
func (h fixture) nextToClose() time.Time {
	h.t.Helper()
	return queryOne[time.Time](h, store.RoleControl, `SELECT COALESCE((SELECT max(hour) + interval '1 hour' FROM usage_closed_hours), (SELECT date_trunc('hour', min(started_at)) FROM usage_intervals), '9999-01-01')`).UTC()
}

// manyPasts adds open intervals that started half an hour before an hour that can be closed.
func (h fixture) manyPasts(t testing.TB, n int) (tenant husk.Tenant, hour time.Time) {
	t.Helper()
	tenant = h.tenant()
	hour = time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	all := make([]past, n)
	for i := range all {
		all[i] = past{pod: uuid.New(), start: hour.Add(30 * time.Minute)}
	}
	h.insertPasts(t, tenant.ID, h.node(1).ID, all)
	return tenant, hour
}

// The closing of an hour continues after the last batch that was committed, on another server too. The leadership is checked in each batch.
func TestTheClosingOfAnHourContinues(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, hour := h.manyPasts(t, 10)
	now := hour.Add(time.Hour + 11*time.Minute)
	step := func(epoch int64, want ledger.Closed) {
		t.Helper()
		if got, err := h.CloseUsageBatch(t.Context(), epoch, now, 4); err != nil || got != want {
			t.Errorf("a batch returns %v, want %v: %v", got, want, err)
		}
	}
	recorded := func() int {
		return queryOne[int](h, store.RoleControl, "SELECT count(*) FROM usage_hours WHERE hour = $1", hour)
	}
	old := h.epoch()
	step(old, ledger.Batch)
	if got := recorded(); got != 4 {
		t.Errorf("the first batch recorded %d intervals, want 4", got)
	}
	if u, closed := h.used(tenant, hour, hour.Add(time.Hour)); !near(u.PodSeconds, 18000) || closed {
		t.Errorf("while it is being closed, the hour has %v s, want 18000, and closed is %v", u.PodSeconds, closed)
	}
	if _, err := h.connect(store.RoleControl).Exec(t.Context(), "UPDATE leadership SET epoch = epoch + 1"); err != nil {
		t.Fatal(err)
	}
	step(old, ledger.Nothing)
	if got := recorded(); got != 4 {
		t.Errorf("a server that no longer leads recorded usage: %d intervals, want 4", got)
	}
	again := openAt(t, h.url).Control() // a server that has just started
	for want := ledger.Batch; ; {
		got, err := again.CloseUsageBatch(t.Context(), h.epoch(), now, 4)
		if must(t, got, err); got == ledger.Hour {
			break
		}
		if got != want {
			t.Fatalf("a batch returns %v", got)
		}
	}
	step(h.epoch(), ledger.Nothing)
	if u, closed := h.used(tenant, hour, hour.Add(time.Hour)); recorded() != 10 || !near(u.PodSeconds, 18000) || !closed {
		t.Errorf("the closed hour has %d rows and %v s, want 10 and 18000, and closed is %v", recorded(), u.PodSeconds, closed)
	}
}

// Two servers that close the same hours at once record each interval once.
func TestTwoServersCloseAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, hour := h.manyPasts(t, 60)
	other := openAt(t, h.url).Control()
	now := hour.Add(2*time.Hour + 11*time.Minute)
	hours := make([]int, 4)
	var running sync.WaitGroup
	for i := range hours {
		c := []store.Control{h.Control, other}[i%2]
		running.Go(func() {
			for {
				done, err := c.CloseUsageBatch(t.Context(), h.epoch(), now, 1+i)
				if err != nil {
					t.Error(err)
					return
				}
				if done == ledger.Nothing {
					return
				}
				if done == ledger.Hour {
					hours[i]++
				}
			}
		})
	}
	running.Wait()
	if sum := hours[0] + hours[1] + hours[2] + hours[3]; sum != 2 {
		t.Errorf("the servers closed %v hours, want 2 in total", hours)
	}
	for n, want := range []float64{60 * 1800, 60 * 3600} {
		from := hour.Add(time.Duration(n) * time.Hour)
		if u, closed := h.used(tenant, from, from.Add(time.Hour)); !near(u.PodSeconds, want) || !closed {
			t.Errorf("hour %d has %v s, want %v, and closed is %v", n, u.PodSeconds, want, closed)
		}
	}
}

// A pod that reports every minute adds one traffic row per hour.
func TestAnHourHasOneTrafficRow(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(2)
	pod := h.createPod(tenant, specOf(h.image(tenant)))
	h.place(node.ID, pod)
	h.backdate(pod, 10*time.Hour)
	start := time.Now().UTC().Truncate(time.Hour).Add(-3 * time.Hour)
	c := h.connect(store.RoleControl)
	for n := range 30 {
		if n%10 == 0 && n > 0 { // an hour passes
			if _, err := c.Exec(t.Context(), "UPDATE usage_totals SET counted_at = date_trunc('hour', counted_at) - interval '1 minute' - $1::interval", fmt.Sprintf("%d hours", 2-n/10)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := h.RecordRuns(t.Context(), node.ID, []husk.MachineRun{{PodID: pod.ID, StartedAt: start, Traffic: husk.Traffic{ReceivedBytes: int64(n + 1), SentBytes: 40, OutsideReceivedBytes: int64(n+1) / 2, OutsideSentBytes: int64(n + 1)}}}); err != nil {
			t.Fatal(err)
		}
	}
	if got := queryOne[string](h, store.RoleControl, "SELECT string_agg(received_bytes::text, ',' ORDER BY at) FROM usage_traffic"); got != "10,20" {
		t.Errorf("three hours of reports keep the counters %s, want 10,20", got)
	}
	byHour := func(hours int) [3]int64 {
		from := start.Truncate(time.Hour).Add(time.Duration(hours) * time.Hour)
		u, _ := h.used(tenant, from, from.Add(time.Hour))
		return [3]int64{u.NetworkReceivedBytes, u.NetworkOutsideReceivedBytes, u.NetworkOutsideSentBytes}
	}
	check := func(when string) {
		t.Helper()
		for hours := 1; hours <= 3; hours++ {
			if got := byHour(hours); got != [3]int64{10, 5, 10} {
				t.Errorf("%s, the bytes in hour %d are %d, want 10, of which 5 are from outside, and 10 that were sent outside", when, hours, got)
			}
		}
	}
	check("before the hours are closed")
	if closed, err := h.CloseUsageHours(t.Context(), h.epoch(), start.Add(3*time.Hour+11*time.Minute)); err != nil || closed != 3 {
		t.Errorf("%d hours are closed, want 3: %v", closed, err)
	}
	check("after three hours are closed")
}

// However many intervals are open, reports wait for the closing of an hour for less than a second. The test runs alone. Another process can still
// stall one batch.
func TestNoBatchOfAClosingTakesASecond(t *testing.T) { //nolint:paralleltest // it measures time
	const intervals = 100_000
	h := open(t)
	hour := time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	super, err := pgx.Connect(t.Context(), h.url("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer super.Close(t.Context())
	for _, sql := range []string{
		`INSERT INTO usage_intervals (tenant_id, kind, object_id, name, labels, cpu_millis, memory_mib, started_at)
			SELECT gen_random_uuid(), 'pod', gen_random_uuid(), 'pod', '{}', 500, 128, $1::timestamptz + interval '10 minutes' FROM generate_series(1, $2::int)`,
		`INSERT INTO usage_open SELECT id, tenant_id FROM usage_intervals WHERE started_at > $1 AND $2 > 0`,
		`UPDATE usage_totals SET received_bytes = 2000, sent_bytes = 2000, counted_at = $1::timestamptz + interval '70 minutes' WHERE $2 > 0`,
		`INSERT INTO usage_traffic SELECT id, tenant_id, $1::timestamptz + interval '50 minutes', 1000, 1000 FROM usage_intervals WHERE $2 > 0`,
	} {
		if _, err := super.Exec(t.Context(), sql, hour, intervals); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if _, err := super.Exec(t.Context(), "VACUUM ANALYZE usage_totals, usage_intervals, usage_traffic"); err != nil {
		t.Fatal(err)
	}
	began, longest, batches, slow := time.Now(), time.Duration(0), 0, 0
	for size, done := ledger.FirstBatch, ledger.Batch; done != ledger.Hour; {
		start := time.Now()
		if done, err = h.CloseUsageBatch(t.Context(), h.epoch(), hour.Add(80*time.Minute), size); err != nil || done == ledger.Nothing {
			t.Fatalf("after %d batches, the closing returns %v: %v", batches, done, err)
		}
		took := time.Since(start)
		longest, batches, size = max(longest, took), batches+1, ledger.NextSize(size, took)
		if took >= time.Second {
			slow++
		}
	}
	t.Logf("%d batches in %s, the longest in %s", batches, time.Since(began), longest)
	if slow > 1 {
		t.Errorf("%d batches take a second or more", slow)
	}
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM usage_hours WHERE seconds = 3000 AND received_bytes = 1000"); n != intervals {
		t.Errorf("the usage of %d of %d intervals is recorded", n, intervals)
	}
}
