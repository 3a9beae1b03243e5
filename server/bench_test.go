// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/dev/devtest"
	"husk/openapi"
	"husk/server/control"
	"husk/store"
)

const (
	benchClients  = 16
	benchTenants  = 16
	benchTime     = 3 * time.Second // of each turn
	benchTurns    = 3               // of API and floor alternately
	benchListSize = 1000
)

// latencies are the durations of all requests of one kind, and the time of the measurement.
type latencies struct {
	all     []time.Duration
	elapsed time.Duration // duration of the measurement
}

func (l latencies) perSecond() float64 { return float64(len(l.all)) / l.elapsed.Seconds() }

func (l latencies) at(share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(l.all))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

func (l *latencies) add(more latencies) {
	l.all, l.elapsed = append(l.all, more.all...), l.elapsed+more.elapsed
}

// runClients lets all clients repeat the same request for benchTime.
func runClients(t testing.TB, do func(client, n int) error) latencies {
	t.Helper()
	var mu sync.Mutex
	var l latencies
	var running sync.WaitGroup
	start := time.Now()
	var n atomic.Int64
	for client := range benchClients {
		running.Go(func() {
			var own []time.Duration
			for time.Since(start) < benchTime {
				began := time.Now()
				if err := do(client, int(n.Add(1))); err != nil {
					t.Error(err)
					return
				}
				own = append(own, time.Since(began))
			}
			mu.Lock()
			l.all = append(l.all, own...)
			mu.Unlock()
		})
	}
	running.Wait()
	l.elapsed = time.Since(start)
	return l
}

// BenchmarkAPI measures 16 clients that read and create pods over HTTP. Alternately, it measures
// the floor: the same statements through the store, without HTTP, tokens, validation and JSON. In
// both cases the clients share the cores with the server and Postgres.
func BenchmarkAPI(b *testing.B) {
	s := benchFixture(b)
	tenants := make([]tenancy, benchTenants)
	for i := range tenants {
		tenants[i] = s.tenant()
		quota := map[string]any{"pods": 100_000, "addresses": 100_000, "cpuMillis": 1_000_000_000, "memoryMiB": 1_000_000_000, "requestsPerSecond": 1_000_000}
		as[openapi.Tenant](b, s.call("PATCH", "/v1/admin/tenants/"+tenants[i].id.String(), s.operator(), map[string]any{"quota": quota}), 200)
	}
	pods := make([]openapi.Pod, len(tenants))
	for i, c := range tenants {
		pods[i] = s.createPod(c)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * benchClients}}
	send := func(method, path, token string, body any, want int) error {
		var reader io.Reader
		if body != nil {
			raw, err := json.Marshal(body)
			if err != nil {
				return err
			}
			reader = bytes.NewReader(raw)
		}
		r, err := http.NewRequestWithContext(b.Context(), method, s.url+path, reader)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+token)
		if body != nil {
			r.Header.Set("Content-Type", "application/json")
		}
		resp, err := client.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		response, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != want {
			err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, response)
		}
		return err
	}
	floorCtx := func(c tenancy) context.Context {
		return store.WithRequest(b.Context(), store.Request{ID: uuid.NewString(), Operation: "CreatePod", Caller: c.owner, Address: netip.MustParseAddr("127.0.0.1")})
	}
	var readAPI, readFloor, createAPI, createFloor latencies
	for range benchTurns {
		readAPI.add(runClients(b, func(i, _ int) error {
			return send("GET", "/v1/pods/"+pods[i].ID.String(), tenants[i].token, nil, 200)
		}))
		readFloor.add(runClients(b, func(i, _ int) error {
			_, err := s.db.Tenant(tenants[i].owner).Pod(floorCtx(tenants[i]), pods[i].ID)
			return err
		}))
		s.clear(b, tenants)
		createAPI.add(runClients(b, func(i, n int) error {
			return send("POST", "/v1/pods", tenants[i].token, tenants[i].body(fmt.Sprintf("api-%d", n)), 201)
		}))
		s.clear(b, tenants)
		createFloor.add(runClients(b, func(i, n int) error {
			spec := husk.PodSpec{
				Containers: []husk.Container{{Name: "main", Image: tenants[i].image.Reference}}, Resources: husk.Resources{CPUMillis: 500, MemoryMiB: 128},
				RestartPolicy: husk.RestartAlways, GracePeriodSeconds: 30,
			}
			_, err := s.db.Tenant(tenants[i].owner).CreatePod(floorCtx(tenants[i]), store.NewIdempotency("", "CreatePod", "/v1/pods", nil), fmt.Sprintf("floor-%d", n), map[string]string{}, nil, spec)
			return err
		}))
		s.clear(b, tenants)
	}
	for range benchListSize {
		s.createPod(tenants[0])
	}
	var list []time.Duration
	for range 40 {
		began := time.Now()
		if err := send("GET", "/v1/pods?limit=1000", tenants[0].token, nil, 200); err != nil {
			b.Fatal(err)
		}
		list = append(list, time.Since(began))
	}
	lists := latencies{all: list}
	row := func(name string, l latencies) {
		fmt.Printf("%-22s %8.0f /s   p50 %6.2f ms   p99 %6.2f ms\n", name, l.perSecond(), 1000*l.at(0.5).Seconds(), 1000*l.at(0.99).Seconds())
	}
	fmt.Printf("\n%d clients, %d tenants, %d turns of %s each\n", benchClients, benchTenants, benchTurns, benchTime)
	row("reads over HTTP", readAPI)
	row("reads, floor", readFloor)
	row("creations over HTTP", createAPI)
	row("creations, floor", createFloor)
	fmt.Printf("reads: %.0f %% of the floor\ncreations: %.0f %% of the floor (goal: at least 60)\n", 100*readAPI.perSecond()/readFloor.perSecond(), 100*createAPI.perSecond()/createFloor.perSecond())
	fmt.Printf("list of %d pods: p50 %.1f ms, p99 %.1f ms (goal: under 25)\n", benchListSize, 1000*lists.at(0.5).Seconds(), 1000*lists.at(0.99).Seconds())
	b.ReportMetric(createAPI.perSecond()/createFloor.perSecond(), "creations/floor")
	b.ReportMetric(readAPI.perSecond()/readFloor.perSecond(), "reads/floor")
	b.ReportMetric(1000*lists.at(0.5).Seconds(), "list-ms")
	b.ReportMetric(0, "ns/op")
}

// clear deletes the created pods, so that all turns begin in the same state.
func (s fixture) clear(b *testing.B, tenants []tenancy) {
	b.Helper()
	for _, c := range tenants {
		pods, err := allPages(func(p store.Page) ([]husk.Pod, string, error) {
			return s.db.Tenant(c.owner).Pods(b.Context(), p, store.Filter{})
		})
		if err != nil {
			b.Fatal(err)
		}
		for _, p := range pods[1:] {
			if _, err := s.db.Tenant(c.owner).DeletePod(b.Context(), p.ID); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// benchFixture returns a server as huskd runs it: without checks of its responses, and without a
// log.
func benchFixture(b *testing.B) fixture {
	b.Helper()
	url := devtest.PostgresFrom(b, "migrated", func(ctx context.Context, url devtest.URL) error { return store.Migrate(ctx, url(store.RoleOwner)) })
	st, err := store.Open(b.Context(), store.Config{
		URL: url(store.RoleOwner), MasterKeys: [][]byte{make([]byte, 32)}, PodRange: netip.MustParsePrefix("10.0.0.0/8"), NetworkPrefix: 16,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(st.Close)
	cfg := Config{
		Store: st, Issuer: issuer, Log: slog.New(slog.DiscardHandler), Terms: control.LeaseTerms{Heartbeat: 10 * time.Second, Lease: 30 * time.Second, Margin: 5 * time.Second, Brake: 1},
		NodeCertificateLife: time.Hour, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
	s, err := New(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	out := fixture{Server: s, cfg: cfg, db: st, store: st.Control(), t: b, operatorID: uuid.New(), database: url}
	if err := out.store.EnsureOperator(b.Context(), out.operatorID, "a secret of the operator"); err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	hs := &http.Server{Handler: s.Handler(), MaxHeaderBytes: MaxHeaderBytes, ReadHeaderTimeout: 10 * time.Second}
	go hs.Serve(l)                       //nolint:errcheck // it ends with Close
	b.Cleanup(func() { _ = hs.Close() }) //nolint:errcheck // the benchmark has ended
	out.url, out.web = "http://"+l.Addr().String(), http.DefaultClient
	agents, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go hs.Serve(tls.NewListener(agents, s.AgentTLS())) //nolint:errcheck // as above
	out.agentURL = "https://" + agents.Addr().String()
	return out
}
