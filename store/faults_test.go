// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"husk"
	"husk/dev/devtest"
	"husk/store"
	"husk/store/election"
)

// terminate ends every session of the test's database for which the condition is true, and returns
// their number.
func (h fixture) terminate(super *pgx.Conn, condition string) int {
	h.t.Helper()
	var n int
	err := super.QueryRow(h.t.Context(), `SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a
		WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND `+condition).Scan(&n)
	return must(h.t, n, err)
}

func TestOneServerLeadsAndAnotherTakesOver(t *testing.T) {
	t.Parallel()
	h := open(t)
	super := h.connect("postgres")
	ctx, cancel := context.WithCancel(t.Context())
	type leader struct {
		who   int
		epoch int64
		ctx   context.Context
	}
	leads := make(chan leader)
	var wg sync.WaitGroup
	ended := make([]error, 2)
	for who := range 2 {
		wg.Go(func() {
			for ctx.Err() == nil { // as the loops do
				err := h.Lead(ctx, fmt.Sprint("server-", who), func(ctx context.Context, epoch int64) {
					leads <- leader{who, epoch, ctx}
					<-ctx.Done()
				})
				if ctx.Err() == nil {
					ended[who] = err
				}
			}
		})
	}
	defer wg.Wait()
	defer cancel()
	next := func() leader {
		select {
		case l := <-leads:
			return l
		case <-time.After(patience):
			t.Fatal("no server leads")
			return leader{}
		}
	}
	first := next()
	select {
	case l := <-leads:
		t.Fatalf("servers %d and %d lead at the same time", first.who, l.who)
	case <-time.After(1500 * time.Millisecond): // the second server tries to become leader every second
	}
	// A connection that breaks is opened again, and costs nobody the lead.
	for terminated := 0; terminated < 3; {
		terminated += h.terminate(super, "a.application_name = 'husk-leader'")
		select {
		case l := <-leads:
			t.Fatalf("server %d leads although only a connection was lost", l.who)
		case <-time.After(500 * time.Millisecond):
		}
	}
	// Nobody can renew the lease for longer than it is valid.
	block := h.connect("postgres")
	tx, err := block.Begin(ctx)
	must(t, tx, err)
	if _, err := tx.Exec(ctx, "SELECT 1 FROM leader_lease FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-first.ctx.Done():
	case <-time.After(patience):
		t.Error("the leader does not give up")
	}
	time.Sleep(4 * time.Second) // until it has expired by Postgres' clock, too
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	second := next()
	if second.epoch != first.epoch+1 {
		t.Errorf("server %d leads in epoch %d after server %d in %d", second.who, second.epoch, first.who, first.epoch)
	}
	select {
	case <-first.ctx.Done():
	case <-time.After(patience):
		t.Error("the context of the first leader does not end when it loses the lead")
	}
	// Placements of the first leader are ignored now.
	tenant, node := h.tenant(), h.node(1)
	pod := h.createPod(tenant, specOf(h.image(tenant)))
	late := []store.Placement{{Pod: keyOf(pod), Node: node.ID, NodeVersion: h.version(node.ID)}}
	if placed, err := h.CommitPlacements(t.Context(), first.epoch, late); err != nil || len(placed) != 0 {
		t.Errorf("a former leader placed %v, %v", placed, err)
	}
	if placed, err := h.CommitPlacements(t.Context(), second.epoch, late); err != nil || len(placed) != 1 {
		t.Errorf("the leader placed %v, %v", placed, err)
	}
	cancel()
	wg.Wait()
	if ended[first.who] == nil {
		t.Error("losing the lead returns no error")
	}
}

// leadsBy is the database that a process leads which a test starts.
const leadsBy = "HUSK_TEST_LEADS"

// leadUntilKilled leads in a process of its own, and says so.
func leadUntilKilled(dsn string) {
	for {
		err := election.Lead(context.Background(), dsn, "another-process", func(ctx context.Context, epoch int64) {
			fmt.Println("leads", epoch)
			<-ctx.Done()
		})
		fmt.Println("ended", err)
	}
}

// The leader hangs: its kernel still keeps its connections alive. Another server leads, and the first one notices when it continues.
func TestAnotherServerLeadsWhenTheLeaderHangs(t *testing.T) {
	t.Parallel()
	h := open(t)
	cmd := exec.Command(os.Args[0]) //nolint:noctx // it is killed below
	cmd.Env = append(os.Environ(), leadsBy+"="+h.url(store.RoleControl))
	out, err := cmd.StdoutPipe()
	must(t, out, err)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	says := func(want string) (n int64) {
		t.Helper()
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), want) {
			t.Fatalf("the other process says %q, want %q: %v", lines.Text(), want, lines.Err())
		}
		_, _ = fmt.Sscanf(lines.Text(), want+" %d", &n)
		return n
	}
	epoch := says("leads")
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	leads, ended := make(chan int64, 1), make(chan error, 1)
	go func() {
		ended <- h.Lead(ctx, "takes-over", func(ctx context.Context, epoch int64) {
			leads <- epoch
			<-ctx.Done()
		})
	}()
	select {
	case next := <-leads:
		if next != epoch+1 {
			t.Errorf("the new epoch is %d after %d", next, epoch)
		}
		t.Logf("another server leads after %s", time.Since(began))
	case <-time.After(patience):
		t.Fatal("no other server leads")
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	says("ended")
	cancel() // after a leader that ends regularly, another leads at once
	<-ended
	if next := says("leads"); next != epoch+2 {
		t.Errorf("the next epoch is %d", next)
	}
}

func TestLeadReturnsWhenItsFunctionReturns(t *testing.T) {
	t.Parallel()
	h := open(t)
	for range 2 { // the second call can lead again
		if err := h.Lead(t.Context(), "server", func(context.Context, int64) {}); err != nil {
			t.Error(err)
		}
	}
}

// Connections are terminated during requests. Every request gets a response, and each pod is
// accepted once and deleted once.
func TestTerminatedConnectionsNeitherLoseNorDuplicateChanges(t *testing.T) {
	t.Parallel()
	h := open(t)
	super := h.connect("postgres")
	tenant := h.tenant()
	spec := specOf(h.image(tenant))
	const terminations, workers = 25, 4
	var cycles atomic.Int64
	storm := make(chan struct{})
	var made [workers][]store.ID
	finished := make(chan []error)
	go func() {
		finished <- concurrently(workers, func(w int) error {
			for i := 0; ; i++ {
				select {
				case <-storm:
					return nil
				default:
				}
				idem := store.NewIdempotency(fmt.Sprintf("%d-%d", w, i), "CreatePod", "/v1/test", nil)
				name := fmt.Sprintf("p-%d-%d", w, i)
				pod, err := h.as(tenant.ID).CreatePod(t.Context(), idem, name, map[string]string{}, nil, spec)
				if err != nil {
					return fmt.Errorf("create %s: %w", name, err)
				}
				made[w] = append(made[w], pod.ID)
				again, err := h.as(tenant.ID).CreatePod(t.Context(), idem, name, map[string]string{}, nil, spec)
				if err != nil || again.ID != pod.ID {
					return fmt.Errorf("creating %s twice with one key returned %s and %s: %w", name, pod.ID, again.ID, err)
				}
				// If a deletion's commit was not confirmed, the repeated deletion finds no pod.
				// That is the requested result.
				if _, err := h.as(tenant.ID).DeletePod(t.Context(), pod.ID); err != nil && husk.CodeOf(err) != husk.CodeNotFound {
					return fmt.Errorf("deletion of %s: %w", name, err)
				}
				cycles.Add(1)
			}
		})
	}()
	begun, pause := time.Now(), time.NewTicker(time.Millisecond)
	defer pause.Stop()
	for killed, seen := 0, int64(0); killed < terminations; {
		if time.Since(begun) > 2*patience {
			t.Errorf("only %d of %d sessions were terminated; probably all requests fail", killed, terminations)
			break
		}
		if cycles.Load() == seen {
			<-pause.C
			continue // let requests succeed between two terminations
		}
		seen = cycles.Load()
		// Terminate one busy session. The others continue, so that terminations hit every step of a
		// creation.
		killed += h.terminate(super, `a.pid = (SELECT pid FROM pg_stat_activity
			WHERE datname = current_database() AND usename = 'husk_tenant' AND state <> 'idle' ORDER BY random() LIMIT 1)`)
	}
	close(storm)
	for _, err := range <-finished {
		if err != nil {
			t.Error(err)
		}
	}
	pods := 0
	for _, ids := range made {
		pods += len(ids)
	}
	t.Logf("%d sessions were terminated while %d pods were created and deleted", terminations, pods)
	for want, sql := range map[string]string{
		"pods still exist":                                  "SELECT count(*) FROM pods",
		"pods were not accepted once":                       "SELECT count(*) FROM (SELECT 1 FROM events WHERE kind = 'pod' AND reason = 'Accepted' GROUP BY object_id HAVING count(*) <> 1) x",
		"pods were not deleted once":                        "SELECT count(*) FROM (SELECT 1 FROM events WHERE kind = 'pod' AND reason = 'DeletionRequested' GROUP BY object_id HAVING count(*) <> 1) x",
		"pods were accepted, but the response was an error": fmt.Sprintf("SELECT count(DISTINCT object_id) - %d FROM events WHERE kind = 'pod' AND reason = 'Accepted'", pods),
		"pods were deleted, but the response was an error":  fmt.Sprintf("SELECT count(DISTINCT object_id) - %d FROM events WHERE kind = 'pod' AND reason = 'DeletionRequested'", pods),
	} {
		if n := queryOne[int](h, store.RoleControl, sql); n != 0 {
			t.Errorf("%d %s", n, want)
		}
	}
}

func TestHintsArriveAfterTheListenerLostItsConnection(t *testing.T) {
	t.Parallel()
	h := open(t)
	super := h.connect("postgres")
	tenant, node := h.tenant(), h.node(5)
	image := h.image(tenant)
	ofTenant, done := h.as(tenant.ID).Watch()
	defer done()
	ofOther, done := h.as(h.tenant().ID).Watch()
	defer done()
	ofNode, done := h.WatchNode(node.ID)
	defer done()
	work, done := h.WatchWork()
	defer done()
	arrives := func(what string, hint <-chan struct{}) {
		t.Helper()
		select {
		case <-hint:
		case <-time.After(patience):
			t.Fatalf("no hint to %s", what)
		}
	}
	drain := func() {
		for _, hint := range []<-chan struct{}{ofTenant, ofOther, ofNode, work} {
			select {
			case <-hint:
			default:
			}
		}
	}
	// The listener may still be connecting, and sends a hint to every watch once it is connected.
	// So wait until it listens.
	listening := func() bool {
		return queryOne[bool](h, "postgres", "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN husk' AND wait_event = 'ClientRead')")
	}
	eventually(t, "listening", listening)
	for _, after := range []string{"at first", "after a lost connection"} {
		drain()
		pod := h.createPod(tenant, specOf(image))
		arrives("the tenant of a request "+after, ofTenant)
		arrives("the loops after a request "+after, work)
		h.place(node.ID, pod)
		arrives("the node of a placement "+after, ofNode)
		arrives("the tenant of a placement "+after, ofTenant)
		drain()
		gone, err := h.as(tenant.ID).DeletePod(t.Context(), pod.ID)
		must(t, gone, err)
		arrives("the node of a deletion "+after, ofNode)
		if n := h.terminate(super, "a.query = 'LISTEN husk'"); n != 1 {
			t.Fatalf("%d sessions listen", n)
		}
		eventually(t, "listening again", listening)
		arrives("every watch, because hints may have been lost", ofOther)
	}
}

func TestServersThatStartTogetherMigrateOnce(t *testing.T) {
	t.Parallel()
	url := devtest.Postgres(t)
	for _, err := range concurrently(4, func(int) error { return store.Migrate(t.Context(), url(store.RoleOwner)) }) {
		if err != nil {
			t.Error(err)
		}
	}
	h := fixtureOf(t, openAt(t, url), url) // openAt migrates again
	if n := queryOne[int](h, store.RoleOwner, "SELECT count(*) FROM leadership"); n != 1 {
		t.Errorf("leadership has %d rows", n)
	}
	if n := queryOne[int](h, store.RoleOwner, "SELECT count(*) FROM schema_version"); n != 1 {
		t.Errorf("schema_version has %d rows", n)
	}
}

func TestACancelledStatementIsUnavailable(t *testing.T) {
	t.Parallel()
	h := open(t)
	super := h.connect("postgres")
	tx, err := h.connect(store.RoleOwner).Begin(t.Context())
	must(t, tx, err)
	if _, err := tx.Exec(t.Context(), "LOCK TABLE tenants"); err != nil {
		t.Fatal(err)
	}
	result := make(chan error)
	go func() {
		_, err := h.Tenant(t.Context(), store.ID{})
		result <- err
	}()
	eventually(t, "cancelling the waiting statement", func() bool {
		var n int
		err := super.QueryRow(t.Context(), "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&n)
		return must(t, n, err) == 1
	})
	wantCode(t, <-result, husk.CodeUnavailable)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}
