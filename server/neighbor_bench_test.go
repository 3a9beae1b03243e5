// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/session/ws"
	"husk/store"
)

// The attack of BenchmarkNeighbor: one tenant does everything that its quota and the server allow.
const (
	attackTurn    = 5 * time.Second // of each measurement
	attackTurns   = 4               // quiet and noisy alternately
	attackTries   = 200             // watches, logs and sessions that the tenant tries to open, each
	attackPods    = 60              // pods that change once a second
	attackHistory = 400             // days of usage of each pod
	victimPeriod  = 10 * time.Millisecond
)

// BenchmarkNeighbor measures the requests of a tenant while another tenant does nothing, and while it does everything at once: watches next
// to pods that change all the time, reports of usage, logins, creations of large pods with idempotency keys, followed logs, and sessions
// that echo at full speed. ATTACK=watches,usage and so on chooses parts. The clients and the agent of the attack share the cores
// with the server and Postgres.
func BenchmarkNeighbor(b *testing.B) {
	s := benchFixture(b)
	a := newAttack(b, s)
	victim := s.tenant()
	for range 20 {
		s.createPod(victim)
	}
	a.victim(victim, 2*time.Second) // fills caches
	var quiet, noisy victimTimes
	var done []string
	for range attackTurns {
		quiet.add(a.victim(victim, attackTurn))
		stop := a.begin()
		a.victim(victim, 10*time.Second) // until the attack has its full strength
		noisy.add(a.victim(victim, attackTurn))
		done = append(done, stop())
	}
	fmt.Printf("\n%d turns of %s each; the attacks:\n%s\n", attackTurns, attackTurn, strings.Join(done, "\n"))
	for _, p := range s.db.Connections() {
		fmt.Printf("pool %-14s %d transactions waited %s because all connections were in use, and %d waited %s for their tenant's share\n",
			p.Pool, p.Full.Count, p.Full.Total.Round(time.Millisecond), p.Share.Count, p.Share.Total.Round(time.Millisecond))
	}
	var worst float64
	for _, kind := range []string{"get", "list", "create", "delete", "all"} {
		q, n := quiet.of(kind), noisy.of(kind)
		ratio := n.at(0.99).Seconds() / q.at(0.99).Seconds()
		worst = ratio
		fmt.Printf("%-8s quiet p50 %6.2f p99 %6.2f ms   noisy p50 %6.2f p99 %6.2f ms   p99 ratio %.2f (%d and %d requests)\n", kind,
			1000*q.at(0.5).Seconds(), 1000*q.at(0.99).Seconds(), 1000*n.at(0.5).Seconds(), 1000*n.at(0.99).Seconds(), ratio, len(q.all), len(n.all))
	}
	fmt.Printf("p99 of all requests: %.2f times the quiet value (goal: at most 2)\n", worst)
	b.ReportMetric(worst, "p99-ratio")
	b.ReportMetric(0, "ns/op")
}

// victimTimes are latencies by kind of request.
type victimTimes map[string]*latencies

func (v *victimTimes) add(more victimTimes) {
	if *v == nil {
		*v = victimTimes{}
	}
	for kind, l := range more {
		v.of(kind).add(*l)
	}
}

func (v *victimTimes) of(kind string) *latencies {
	if *v == nil {
		*v = victimTimes{}
	}
	if (*v)[kind] == nil {
		(*v)[kind] = &latencies{}
	}
	return (*v)[kind]
}

// attack is what one tenant does. Its clients are a process of their own that runs only when the processors are idle: clients are other machines.
type attack struct {
	b      *testing.B
	s      fixture
	tenant tenancy
	pods   []openapi.Pod
	agent  fixture
	order  attackOrder
}

func newAttack(b *testing.B, s fixture) *attack {
	b.Helper()
	a := &attack{b: b, s: s}
	line := bytes.Repeat([]byte("x"), 8<<10)
	f := newSessionFixture(b, s, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/logs") { // as much as the agent lets a pod write
			w.Header().Set("Content-Type", "application/x-ndjson")
			tick := time.NewTicker(time.Second * time.Duration(len(line)) / (1 << 20))
			defer tick.Stop()
			for range tick.C {
				if _, err := w.Write(line); err != nil || http.NewResponseController(w).Flush() != nil || r.Context().Err() != nil {
					return
				}
			}
			return
		}
		conn, err := ws.Accept(w, r)
		if err != nil {
			return
		}
		echo(conn, r)
		_ = conn.End()
	})
	a.tenant = f.tenant
	as[openapi.Tenant](b, s.call("PATCH", "/v1/admin/tenants/"+a.tenant.id.String(), s.operator(), map[string]any{"quota": map[string]any{
		"requestsPerSecond": husk.DefaultQuota.RequestsPerSecond,
	}}), 200)
	key, err := s.store.CreateTenantKey(b.Context(), a.tenant.id, store.NewIdempotency("", "test", "", nil), "owner", store.KeyRequest{Name: "attack"})
	if err != nil {
		b.Fatal(err)
	}
	a.order = attackOrder{
		URL: s.url, Token: a.tenant.token, ID: key.ClientID.String(), Secret: key.Secret, Image: a.tenant.image.Reference, Pod: f.pod, Parts: os.Getenv("ATTACK"),
	}
	node, agent := s.node()
	a.agent = agent
	a.pods = append(a.pods, openapi.Pod{ID: f.pod})
	for len(a.pods) < attackPods {
		time.Sleep(2 * time.Second / time.Duration(husk.DefaultQuota.RequestsPerSecond))
		pod := s.createPod(a.tenant)
		s.place(node, a.tenant, pod.ID)
		s.report(agent, pod.ID, 1, husk.EventStarting)
		a.pods = append(a.pods, pod)
	}
	a.history()
	return a
}

// history fills the ledger as attackPods pods do in attackHistory days.
func (a *attack) history() {
	db := a.s.connect("postgres")
	for _, sql := range []string{
		`INSERT INTO usage_intervals (tenant_id, kind, object_id, name, labels, node_name, cpu_millis, memory_mib, started_at)
			SELECT '` + a.tenant.id.String() + `', 'pod', gen_random_uuid(), 'old-' || n, '{}', 'node', 500, 128, date_trunc('hour', now()) - interval '` + strconv.Itoa(attackHistory) + ` days' FROM generate_series(1, ` + strconv.Itoa(attackPods) + `) n`,
		`INSERT INTO usage_hours (interval_id, tenant_id, hour, seconds, received_bytes, sent_bytes)
			SELECT id, tenant_id, hour, 3600, 1000, 1000 FROM usage_intervals, generate_series(started_at, date_trunc('hour', now()) - interval '2 hours', interval '1 hour') hour
			WHERE name LIKE 'old-%'`,
		`INSERT INTO usage_closed_hours (hour) SELECT date_trunc('hour', now()) - interval '2 hours'`,
		"VACUUM ANALYZE",
	} {
		if _, err := db.Exec(a.b.Context(), sql); err != nil {
			a.b.Fatal(err)
		}
	}
}

// begin starts the attack. It returns a function that ends it and says what was done.
func (a *attack) begin() (stop func() string) {
	raw, err := json.Marshal(a.order)
	if err != nil {
		a.b.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		a.b.Fatal(err)
	}
	clients := exec.CommandContext(a.b.Context(), "chrt", "--idle", "0", self)
	clients.Env = append(os.Environ(), attackEnv+"="+string(raw))
	var out bytes.Buffer
	clients.Stdout, clients.Stderr = &out, os.Stderr
	in, err := clients.StdinPipe()
	if err == nil {
		err = clients.Start()
	}
	if err != nil {
		a.b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(a.b.Context())
	var running sync.WaitGroup
	if a.order.does("watches") {
		running.Go(func() { a.flap(ctx) })
	}
	return func() string {
		cancel()
		running.Wait()
		if err := errors.Join(in.Close(), clients.Wait()); err != nil {
			a.b.Error(err)
		}
		return strings.TrimSpace(out.String())
	}
}

// flap reports a change of every pod once a second.
func (a *attack) flap(ctx context.Context) {
	for restarts := 1; ctx.Err() == nil; restarts++ {
		pods := []any{}
		for _, p := range a.pods[1:] {
			pods = append(pods, map[string]any{"podId": p.ID, "generation": 1, "event": husk.EventStarting, "restarts": restarts, "containers": []any{}})
		}
		if a.agent.call("POST", "/v1/agent/status", "", map[string]any{"pods": pods}).status != http.StatusNoContent {
			a.b.Error("a report is refused")
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// victim sends the requests of a tenant at a steady rate, and returns how long they took. A request that is late is sent at once, and its
// time counts from when it was due.
func (a *attack) victim(c tenancy, duration time.Duration) victimTimes {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var times victimTimes
	pods := a.s.firstPods(c)
	send := func(due time.Time, kind, method, path string, body any, want int) (made struct{ ID string }) {
		var reader io.Reader
		if body != nil {
			raw, err := json.Marshal(body)
			if err != nil {
				a.b.Error(err)
			}
			reader = bytes.NewReader(raw)
		}
		r, err := http.NewRequestWithContext(a.b.Context(), method, a.s.url+path, reader)
		if err != nil {
			a.b.Error(err)
			return made
		}
		r.Header.Set("Authorization", "Bearer "+c.token)
		r.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(r)
		if err != nil {
			a.b.Error(err)
			return made
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want {
			a.b.Errorf("%s %s: %s %s %v", method, path, resp.Status, raw, err)
		}
		took := time.Since(due)
		mu.Lock()
		for _, k := range []string{kind, "all"} {
			times.of(k).add(latencies{all: []time.Duration{took}})
		}
		mu.Unlock()
		if kind == "create" {
			if err := json.Unmarshal(raw, &made); err != nil {
				a.b.Error(err)
			}
		}
		return made
	}
	var running sync.WaitGroup
	due := time.Now()
	for i, end := 0, due.Add(duration); due.Before(end); i++ {
		at := due
		running.Go(func() {
			switch i % 10 {
			case 0:
				made := send(at, "create", http.MethodPost, "/v1/volumes", map[string]any{"name": named("volume"), "sizeGiB": 1}, http.StatusCreated)
				send(time.Now(), "delete", http.MethodDelete, "/v1/volumes/"+made.ID, nil, http.StatusAccepted)
				if id, err := uuid.Parse(made.ID); err == nil { // as the control loops do
					if err := a.s.store.VolumeRemoved(a.b.Context(), husk.Volume{ID: id, TenantID: c.id}); err != nil {
						a.b.Error(err)
					}
				}
			case 1, 2, 3:
				send(at, "list", http.MethodGet, "/v1/pods", nil, http.StatusOK)
			default:
				send(at, "get", http.MethodGet, "/v1/pods/"+pods[i%len(pods)].ID.String(), nil, http.StatusOK)
			}
		})
		due = due.Add(victimPeriod)
		time.Sleep(time.Until(due))
	}
	running.Wait()
	return times
}

func (s fixture) firstPods(c tenancy) []husk.Pod {
	s.t.Helper()
	pods, _, err := s.db.Tenant(c.owner).Pods(s.t.Context(), store.Page{Limit: 20}, store.Filter{})
	if err != nil {
		s.t.Fatal(err)
	}
	return pods
}
