// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"husk/server/control"
	"husk/store"
)

// If schedulesEnv is set, a replica takes part in the leader election and runs the scheduling loop
// while it leads.
const schedulesEnv = "HUSK_TEST_SCHEDULES"

func scheduleForTests(ctx context.Context, s *Server, db store.Control) {
	for ctx.Err() == nil {
		_ = db.Lead(ctx, fmt.Sprint(os.Getpid()), func(ctx context.Context, epoch int64) { //nolint:errcheck // Lead is called again
			s.loops.RunOnly(ctx, epoch, "schedule")
		})
	}
}

// fleet creates nodes and pending pods with SQL, because the API would take minutes.
func (s fixture) fleet(nodes, pods int) *pgx.Conn {
	s.t.Helper()
	c := s.tenant()
	first := s.createPod(c)
	db, err := pgx.Connect(s.t.Context(), s.database(store.RoleControl))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = db.Close(context.WithoutCancel(s.t.Context())) })
	for sql, arg := range map[string]int{
		`INSERT INTO nodes (id, name, state, cpu_millis, memory_mib, vmm_overhead_mib, heartbeat_at)
			SELECT gen_random_uuid(), 'metal-' || n, 'Ready', 64000, 131072, 128, now() FROM generate_series(1, $1) n`: nodes,
		// Typical sizes of tenants' pods: many small ones, few large ones.
		`INSERT INTO pods (tenant_id, id, name, labels, spec, cpu_millis, memory_mib, network_id, address, mac)
			SELECT tenant_id, gen_random_uuid(), 'queued-' || n, '{}', spec, (ARRAY[500, 500, 1000, 2000, 4000])[1 + n % 5], (ARRAY[512, 1024, 2048, 4096, 16384])[1 + n % 5],
				network_id, '10.128.0.0'::inet + n, mac FROM pods, generate_series(2, $1) n WHERE name = '` + first.Name + `'`: pods,
	} {
		if _, err := db.Exec(s.t.Context(), sql, arg); err != nil {
			s.t.Fatal(err)
		}
	}
	if _, err := db.Exec(s.t.Context(), "ANALYZE"); err != nil {
		s.t.Log(err) // only the owner has the permission; Postgres collects the statistics by itself
	}
	return db
}

func (s fixture) count(db *pgx.Conn, sql string) int {
	s.t.Helper()
	var n int
	if err := db.QueryRow(s.t.Context(), sql).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// wantConsistent checks with SQL that the allocation of each node matches its pods and is within
// its capacity, and that no pod is placed twice.
func (s fixture) wantConsistent(db *pgx.Conn, pods int) {
	s.t.Helper()
	for what, sql := range map[string]string{
		"nodes have an allocation that does not match their pods": `SELECT count(*) FROM nodes n LEFT JOIN (SELECT node_id, sum(cpu_millis) AS cpu, sum(memory_mib + vmm_overhead_mib) AS memory FROM pods GROUP BY node_id) p
			ON p.node_id = n.id WHERE (n.allocated_cpu_millis, n.allocated_memory_mib) IS DISTINCT FROM (COALESCE(p.cpu, 0), COALESCE(p.memory, 0))`,
		"nodes are over their capacity":  "SELECT count(*) FROM nodes WHERE allocated_cpu_millis > cpu_millis OR allocated_memory_mib > memory_mib",
		"pods were placed twice":         "SELECT count(*) FROM (SELECT object_id FROM events WHERE reason = 'Placed' GROUP BY object_id HAVING count(*) > 1) e",
		"placed pods have no event":      "SELECT count(*) FROM pods WHERE phase = 'Starting' AND NOT EXISTS (SELECT 1 FROM events e WHERE e.object_id = pods.id AND e.reason = 'Placed')",
		"placed pods have no allocation": "SELECT count(*) FROM pods WHERE phase = 'Starting' AND NOT holds_room",
	} {
		if n := s.count(db, sql); n != 0 {
			s.t.Errorf("%d %s", n, what)
		}
	}
	if n := s.count(db, "SELECT count(*) FROM pods"); n != pods {
		s.t.Errorf("there are %d pods, want %d", n, pods)
	}
}

// Two servers place thousands of pods, and the leader is killed in the meantime. No pod is placed
// twice, no pod is lost, and no node is overcommitted.
func TestALeaderThatIsKilledPlacesNothingTwice(t *testing.T) {
	t.Setenv(schedulesEnv, "yes")
	s := open(t)
	const nodes, pods = 2000, 30_000
	db := s.fleet(nodes, pods)
	replicas := []*replica{s.replica(), s.replica()}
	wait := func(what string, done func() bool) {
		t.Helper()
		deadline := time.Now().Add(2 * patience)
		for !done() {
			if time.Now().After(deadline) {
				t.Fatalf("timeout while waiting until %s", what)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	pending := func() int { return s.count(db, "SELECT count(*) FROM pods WHERE phase = 'Pending'") }
	wait("the first pods are placed", func() bool { return pending() < pods })
	holder := s.count(db, "SELECT holder::integer FROM leadership")
	left := pending()
	for _, r := range replicas {
		if r.cmd.Process.Pid == holder {
			r.kill()
		}
	}
	if left == 0 {
		t.Fatal("all pods were placed before the leader could be killed")
	}
	wait("all pods are placed", func() bool { return pending() == 0 })
	s.wantConsistent(db, pods)
	if epoch := s.count(db, "SELECT epoch::integer FROM leadership"); epoch < 2 {
		t.Errorf("the epoch is %d; no other server became leader", epoch)
	}
	t.Logf("the leader was killed with %d of %d pods pending", left, pods)
}

// A pod that does not fit is deferred and does not keep younger ones from being placed; when capacity becomes free, the loop retries it at once.
func TestAPodThatDoesNotFitDoesNotDelayOthers(t *testing.T) {
	t.Parallel()
	s := open(t)
	db := s.fleet(1, 3)
	placer := s.loops.Passes()["schedule"]
	pass := func() {
		t.Helper()
		if err := placer(t.Context(), 0); err != nil && err != control.ErrMore { //nolint:errorlint // the pass does not wrap it
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(t.Context(), "UPDATE pods SET memory_mib = 200000, created_at = created_at - interval '1 hour' WHERE name = 'queued-2'"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		pass()
	}
	if n := s.count(db, "SELECT count(*) FROM pods WHERE phase = 'Starting'"); n != 2 {
		t.Errorf("%d pods are placed next to a pod that does not fit", n)
	}
	if n := s.count(db, "SELECT tries FROM pods WHERE name = 'queued-2' AND next_try_at > now() AND reason = 'InsufficientMemory'"); n < 1 {
		t.Errorf("the pod was tried %d times", n)
	}
	if _, err := db.Exec(t.Context(), "UPDATE pods SET next_try_at = now() + interval '1 hour' WHERE name = 'queued-2'"); err != nil {
		t.Fatal(err)
	}
	pass()
	if n := s.count(db, "SELECT count(*) FROM pods WHERE phase = 'Pending'"); n != 1 {
		t.Error("the scheduler retried a deferred pod too early")
	}
	if _, err := db.Exec(t.Context(), "UPDATE nodes SET memory_mib = 400000, version = version + 1"); err != nil {
		t.Fatal(err)
	}
	pass()
	pass()
	if n := s.count(db, "SELECT count(*) FROM pods WHERE phase = 'Starting'"); n != 3 {
		t.Error("capacity became free, but the pod still waits")
	}
	s.wantConsistent(db, 3)
}

// BenchmarkPlacing places 50,000 pending pods on 10,000 nodes with the real loop, until the last
// placement is committed.
func BenchmarkPlacing(b *testing.B) {
	const nodes, pods = 10_000, 50_000
	for b.Loop() {
		s := benchFixture(b)
		db := s.fleet(nodes, pods)
		ctx, cancel := context.WithCancel(b.Context())
		began := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.loops.RunOnly(ctx, 0, "schedule")
		}()
		for s.count(db, "SELECT count(*) FROM pods WHERE phase = 'Pending'") > 0 {
			time.Sleep(10 * time.Millisecond)
		}
		took := time.Since(began)
		cancel()
		<-done
		s.wantConsistent(db, pods)
		fmt.Printf("%d pending pods on %d nodes: committed in %s, %.0f pods/s (goal: at least 10000)\n", pods, nodes, took.Round(time.Millisecond), pods/took.Seconds())
		b.ReportMetric(pods/took.Seconds(), "pods/s")
	}
	b.ReportMetric(0, "ns/op")
}

// If the keys of more pods than there are workers cannot be created, a pod that was placed later
// still gets its key.
func TestAKeyThatCannotBeCreatedDoesNotDelayOthers(t *testing.T) {
	t.Parallel()
	s := withCeph(t)
	db := s.fleet(10, 40)
	for _, sql := range []string{
		`INSERT INTO image_uses (tenant_id, pod_id, container, image_id) SELECT p.tenant_id, p.id, u.container, u.image_id FROM pods p, image_uses u
			WHERE p.name LIKE 'queued-%' AND p.name <> 'queued-2'`, // their image has no clone in Ceph
		"UPDATE pods SET created_at = now() + interval '1 hour' WHERE name = 'queued-2'",
	} {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	passes := s.loops.Passes()
	placer, keys := passes["schedule"], passes["keys"]
	s.pass(placer)
	if _, err := db.Exec(t.Context(), "UPDATE pods SET placed_at = now() + interval '1 hour' WHERE name = 'queued-2'"); err != nil {
		t.Fatal(err)
	}
	s.pass(keys)
	if n := s.count(db, "SELECT count(*) FROM pods WHERE name = 'queued-2' AND ceph_key IS NOT NULL"); n != 1 {
		t.Error("the last pod has no key")
	}
	if n := s.count(db, "SELECT count(*) FROM pods WHERE ceph_key IS NOT NULL"); n != 1 {
		t.Errorf("%d pods have keys, want 1; the others' keys cannot be created", n)
	}
}

// The first pass places a pod that waits for nothing, however many pods wait for an image.
func TestPodsThatWaitForAnImageDoNotDelayOthers(t *testing.T) {
	t.Parallel()
	s := open(t)
	const waiting = control.ScheduleBatch + 100
	db := s.fleet(10, waiting+2)
	for _, sql := range []string{
		`INSERT INTO images (tenant_id, id, reference, digest, state, config) SELECT tenant_id, gen_random_uuid(), 'slow', 'sha256:slow', 'Importing', '{}' FROM pods LIMIT 1`,
		`INSERT INTO image_uses (tenant_id, pod_id, container, image_id) SELECT p.tenant_id, p.id, 'main', i.id FROM pods p, images i
			WHERE i.reference = 'slow' AND p.name LIKE 'queued-%' AND p.name <> 'queued-2'`,
		"UPDATE pods SET created_at = now() + interval '1 hour' WHERE name = 'queued-2'",
	} {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	p := s.loops.Passes()["schedule"]
	if err := p(t.Context(), 0); err != nil && !errors.Is(err, control.ErrMore) {
		t.Fatal(err)
	}
	if n := s.count(db, "SELECT count(*) FROM pods WHERE phase = 'Starting' AND name = 'queued-2'"); n != 1 {
		t.Error("the pod that can be placed waits for pods that cannot")
	}
	if err := p(t.Context(), 0); err != nil {
		t.Errorf("no pod can be placed, but the loop runs again immediately: %v", err)
	}
}
