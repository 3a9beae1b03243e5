// SPDX-License-Identifier: Apache-2.0

package scale

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"husk/openapi"
)

const (
	idleTime    = time.Minute // of each measurement
	heartbeats  = 10 * time.Second
	scrapeEvery = 15 * time.Second
	// idleGoal is the share of a core that an idle server may use.
	idleGoal = 0.05
)

// BenchmarkIdleServer measures the CPU time of huskd server, and of its Postgres, while nothing
// happens in an installation with 100,000 running pods: first without any request, then while
// Prometheus scrapes one tenant and the platform. The nodes' heartbeats arrive as rows.
func BenchmarkIdleServer(b *testing.B) {
	s := startServer(b)
	db := s.connect(b)
	n := size{tenants: 1000, nodes: 1000, pods: 100_000, imports: 30, events: 300_000}
	tenant := s.fill(b, db, n)
	ctx, stop := context.WithCancel(b.Context())
	var background sync.WaitGroup
	defer background.Wait()
	defer stop()
	background.Go(func() { keepAlive(ctx, b, s.connect(b)) })
	s.awaitLeader(b)
	wait(ctx, 20*time.Second) // the first passes of a leader read everything once

	quiet := s.measure(b, db, func() { wait(ctx, idleTime) })
	key := operatorClient(b, s).tenantKey(b, tenant)
	scraped := s.measure(b, db, func() {
		for start := time.Now(); time.Since(start) < idleTime; wait(ctx, scrapeEvery) {
			s.get(b, "/v1/metrics", s.token(b, key.ClientID.String(), key.ClientSecret))
			s.get(b, "/metrics", s.token(b, s.operatorID, s.operatorSecret))
		}
	})
	fmt.Printf("\n%d pods on %d nodes of %d tenants, nothing happens: %s\n", n.pods, n.nodes, n.tenants, quiet)
	fmt.Printf("the same while one tenant and the platform are scraped every %s: %s (goal: under %.0f %% for the server)\n", scrapeEvery, scraped, 100*idleGoal)
	b.ReportMetric(100*quiet.server, "idle-core-%")
	b.ReportMetric(100*scraped.server, "scraped-core-%")
	b.ReportMetric(100*scraped.postgres, "postgres-core-%")
	b.ReportMetric(0, "ns/op")
	if scraped.server > idleGoal || quiet.server > idleGoal {
		b.Errorf("an idle server uses %.1f %% of a core, want at most %.0f", 100*max(scraped.server, quiet.server), 100*idleGoal)
	}
}

// keepAlive gives the nodes' heartbeats a new time, as their agents do.
func keepAlive(ctx context.Context, b *testing.B, db *pgx.Conn) {
	b.Helper()
	for ctx.Err() == nil {
		if _, err := db.Exec(ctx, "UPDATE nodes SET heartbeat_at = clock_timestamp()"); err != nil && ctx.Err() == nil {
			b.Error(err)
		}
		wait(ctx, heartbeats)
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// token logs in with a client secret.
func (s *huskd) token(b *testing.B, id, secret string) string {
	b.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
	resp, err := http.Post(s.url+"/oauth2/token", "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	var token openapi.Token
	if err := json.NewDecoder(resp.Body).Decode(&token); err != nil || token.AccessToken == "" {
		b.Fatalf("the login gets the response %s: %v", resp.Status, err)
	}
	return token.AccessToken
}

// get requests a page and returns its size.
func (s *huskd) get(b *testing.B, path, token string) int64 {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("GET %s gets the response %s: %v", path, resp.Status, err)
	}
	return n
}
