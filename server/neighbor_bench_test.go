// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/session"
	"husk/session/ws"
	"husk/store"
)

// The attack of BenchmarkNeighbor: one tenant does everything that its quota and the server allow.
const (
	attackTurn    = 5 * time.Second // of each measurement
	attackTurns   = 2               // quiet and noisy alternately
	attackTries   = 200             // watches, logs and sessions that the tenant tries to open, each
	attackPods    = 60              // pods that change once a second
	attackHistory = 400             // days of usage of each pod
	victimPeriod  = 10 * time.Millisecond
)

// BenchmarkNeighbor measures the requests of a tenant while another tenant does nothing, and while it does everything at once: watches next
// to pods that change all the time, reports of usage, logins, creations of large pods with idempotency keys, followed logs, and sessions
// that echo as fast as they can. ATTACK=watches,usage and so on chooses parts. The clients and the agent of the attack share the cores
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

// attack is what one tenant does. Its clients are a process of their own with the lowest priority: their work is not the server's.
type attack struct {
	b      *testing.B
	s      fixture
	tenant tenancy
	pods   []openapi.Pod
	agent  fixture
	order  attackOrder
}

// attackOrder is what the process of the clients needs to know.
type attackOrder struct {
	URL, Token, ID, Secret, Image string
	Pod                           uuid.UUID
	Parts                         string
}

// attackCounts is what the clients have done.
type attackCounts struct{ Watches, Events, Usage, Logins, Creates, Logs, Sessions, Bytes, Refused atomic.Int64 }

// attackEnv names the variable with the order for the process.
const attackEnv = "HUSK_TEST_ATTACK"

// attackForTests runs the clients until the standard input ends.
func attackForTests(order string) error {
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19); err != nil {
		return err
	}
	c := attackClients{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}}
	if err := json.Unmarshal([]byte(order), &c.attackOrder); err != nil {
		return err
	}
	stop := c.begin()
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	stop()
	fmt.Println(&c.counts)
	return nil
}

type attackClients struct {
	attackOrder
	client *http.Client
	counts attackCounts
}

// String says what the clients have done.
func (c *attackCounts) String() string {
	return fmt.Sprintf("%d watches with %d MiB of events, %d reports of usage, %d logins, %d creations, %d logs, %d sessions, %d MiB of streams, %d refusals",
		c.Watches.Load(), c.Events.Load()>>20, c.Usage.Load(), c.Logins.Load(), c.Creates.Load(), c.Logs.Load(), c.Sessions.Load(), c.Bytes.Load()>>20, c.Refused.Load())
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
	clients := exec.CommandContext(a.b.Context(), self)
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

// does reports whether a part of the attack takes place.
func (o attackOrder) does(part string) bool {
	return o.Parts == "" || strings.Contains(","+o.Parts+",", ","+part+",")
}

// begin starts the clients. It returns a function that ends them.
func (a *attackClients) begin() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	repeat := func(part string, clients int, do func(ctx context.Context)) {
		if !a.does(part) {
			return
		}
		for range clients {
			running.Go(func() {
				for ctx.Err() == nil {
					do(ctx)
				}
			})
		}
	}
	from := time.Now().Add(-399 * 24 * time.Hour).UTC().Format(time.RFC3339)
	repeat("usage", 16, func(ctx context.Context) {
		if a.get(ctx, "/v1/usage?groupBy=object&from="+from, &a.counts.Usage) != nil {
			pause(ctx)
		}
	})
	repeat("logins", 8, a.logIn)
	repeat("creates", 4, a.createAndDelete)
	for i := range attackTries {
		if a.does("watches") {
			path := []string{"/v1/pods?watch=true", "/v1/events?watch=true"}[i%2]
			running.Go(func() { a.stream(ctx, path, &a.counts.Watches, &a.counts.Events) })
		}
		if a.does("logs") {
			running.Go(func() {
				a.stream(ctx, "/v1/pods/"+a.Pod.String()+"/logs?follow=true", &a.counts.Logs, &a.counts.Bytes)
			})
		}
		if a.does("sessions") {
			running.Go(func() { a.session(ctx) })
		}
	}
	return func() { cancel(); running.Wait() }
}

// pause waits after a refusal as long as a client with many waiting requests should.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Second + rand.N(4*time.Second)): //nolint:gosec // jitter needs no secrecy
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

func (a *attackClients) get(ctx context.Context, path string, count *atomic.Int64) error {
	resp, err := a.send(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	count.Add(1)
	return err
}

// send sends a request. An error also stands for a refusal.
func (a *attackClients) send(ctx context.Context, method, path string, body any, header http.Header) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, method, a.URL+path, reader)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+a.Token)
	r.Header.Set("X-Forwarded-For", "198.51.100.1")
	resp, err := a.client.Do(r)
	if err == nil && resp.StatusCode >= 400 {
		resp.Body.Close()
		a.counts.Refused.Add(1)
		err = fmt.Errorf("%s", resp.Status)
	}
	return resp, err
}

func (a *attackClients) logIn(ctx context.Context) {
	form := url.Values{"grant_type": {grantClientCredentials}, "client_id": {a.ID}, "client_secret": {a.Secret}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Forwarded-For", "198.51.100.1")
	resp, err := a.client.Do(r)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		a.counts.Refused.Add(1)
		pause(ctx)
		return
	}
	a.counts.Logins.Add(1)
}

// createAndDelete creates a pod that is about as large as a pod can be.
func (a *attackClients) createAndDelete(ctx context.Context) {
	pod := tenancy{image: husk.Image{Reference: a.Image}}.body("large-" + uuid.NewString())
	files := []any{}
	for i := range 2 {
		files = append(files, map[string]any{"path": fmt.Sprintf("/data/%d", i), "content": strings.Repeat("0123456789abcdef", 15<<10)})
	}
	pod["spec"].(map[string]any)["containers"] = []any{map[string]any{"name": "main", "image": a.Image, "files": files}} //nolint:forcetypeassert // see body
	resp, err := a.send(ctx, http.MethodPost, "/v1/pods", pod, http.Header{"Idempotency-Key": {uuid.NewString()}})
	if err != nil {
		pause(ctx)
		return
	}
	defer resp.Body.Close()
	var made struct{ ID string }
	if json.NewDecoder(resp.Body).Decode(&made) != nil {
		return
	}
	a.counts.Creates.Add(1)
	for ctx.Err() == nil {
		gone, err := a.send(ctx, http.MethodDelete, "/v1/pods/"+made.ID, nil, nil)
		if err == nil {
			gone.Body.Close()
			return
		}
		pause(ctx)
	}
}

// stream opens a stream and reads it to its end.
func (a *attackClients) stream(ctx context.Context, path string, count, bytes *atomic.Int64) {
	for ctx.Err() == nil {
		resp, err := a.send(ctx, http.MethodGet, path, nil, nil)
		if err != nil {
			pause(ctx)
			continue
		}
		count.Add(1)
		buf := make([]byte, 32<<10)
		for n := 0; err == nil; {
			n, err = resp.Body.Read(buf)
			bytes.Add(int64(n))
		}
		resp.Body.Close()
	}
}

// session opens a session and sends as fast as the pod echoes.
func (a *attackClients) session(ctx context.Context) {
	for ctx.Err() == nil {
		h := http.Header{"Authorization": {"Bearer " + a.Token}}
		conn, _, err := ws.Dial(ctx, &http.Client{Transport: http.DefaultTransport}, a.URL+"/v1/pods/"+a.Pod.String()+"/exec?command=cat&stdin=true", h)
		if err != nil {
			a.counts.Refused.Add(1)
			pause(ctx)
			continue
		}
		a.counts.Sessions.Add(1)
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		data := make([]byte, 16<<10)
		for conn.Send(session.Stdin, data) == nil {
			f, err := conn.Receive()
			if err != nil {
				break
			}
			a.counts.Bytes.Add(int64(len(f.Payload)))
		}
		stop()
		_ = conn.Close()
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
