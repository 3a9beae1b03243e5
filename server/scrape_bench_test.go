// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"husk/openapi"
	"husk/store"
)

const (
	scrapePods    = 1000 // of the large tenant
	scrapeTenants = 200
	smallPods     = 10               // of each of the others
	scrapeTurn    = 15 * time.Second // each tenant is scraped once in this time
	scrapeTurns   = 2
)

// scrapedFixture returns a server, a large tenant with 1,000 pods, 200 small tenants with ten pods
// each, and one pod of each small tenant. All pods have samples.
func scrapedFixture(b *testing.B) (s fixture, large tenancy, tenants []tenancy, pods []openapi.Pod) {
	b.Helper()
	s = benchFixture(b)
	large = s.tenant()
	tenants, pods = make([]tenancy, scrapeTenants), make([]openapi.Pod, scrapeTenants)
	for i := range tenants {
		tenants[i] = s.tenant()
		pods[i] = s.createPod(tenants[i])
	}
	s.createPod(large)
	db := s.connect(store.RoleControl)
	for _, sql := range []string{
		`INSERT INTO nodes (id, name, state, cpu_millis, memory_mib, vmm_overhead_mib, heartbeat_at)
			VALUES ('00000000-0000-4000-8000-000000000001', 'metal-1', 'Ready', 64000, 131072, 128, now())`,
		fmt.Sprintf(`INSERT INTO pods (tenant_id, id, name, labels, spec, cpu_millis, memory_mib, network_id, address, mac)
			SELECT p.tenant_id, gen_random_uuid(), 'more-' || n, '{}', p.spec, 500, 128, p.network_id, p.address + n, p.mac
			FROM pods p, generate_series(1, CASE WHEN p.tenant_id = '%s' THEN %d ELSE %d END) n`, large.id, scrapePods-1, smallPods-1),
		`UPDATE pods SET phase = 'Running', node_id = '00000000-0000-4000-8000-000000000001', node_name = 'metal-1', domain_started_at = now(),
			containers = '[{"name": "main", "state": "Running", "restarts": 0}]'`,
		`INSERT INTO pod_samples (tenant_id, pod_id, node_id, figures) SELECT tenant_id, id, node_id, jsonb_build_object('podId', id, 'cpuNanos', 123456789012, 'cpuStealNanos', 12345678,
			'machineBytes', 234567890, 'networkReceiveBytes', 1234567890, 'networkReceivePackets', 1234567, 'networkReceiveErrors', 0, 'networkReceiveDrops', 0, 'networkTransmitBytes', 1234567890,
			'networkTransmitPackets', 1234567, 'networkTransmitErrors', 0, 'networkTransmitDrops', 0, 'diskReadBytes', 1234567890, 'diskReadOperations', 12345, 'diskWriteBytes', 1234567890,
			'diskWriteOperations', 12345, 'guest', jsonb_build_object('memoryUsedBytes', 123456789, 'memoryCachedBytes', 12345678, 'oomKills', 0, 'cpuPressure', 12, 'memoryPressure', 0, 'ioPressure', 3))
			FROM pods`,
	} {
		if _, err := db.Exec(b.Context(), sql); err != nil {
			b.Fatal(err)
		}
	}
	return s, large, tenants, pods
}

// BenchmarkScrape measures the duration of a scrape of a tenant with 1,000 pods, whose samples are
// recent. It also measures the CPU time that this process, including the clients, uses to scrape
// 200 tenants every 15 s without any other load.
func BenchmarkScrape(b *testing.B) {
	s, large, tenants, _ := scrapedFixture(b)
	db := s.connect(store.RoleControl)
	// The samples stay fresh, as agents keep them.
	ctx, stop := context.WithCancel(b.Context())
	var background sync.WaitGroup
	defer background.Wait()
	defer stop()
	refreshSamples := func() {
		if _, err := db.Exec(ctx, `UPDATE pod_samples SET at = clock_timestamp()`); err != nil && ctx.Err() == nil {
			b.Error(err)
		}
	}
	refreshSamples()

	var size int64
	var scrapes latencies
	for range 100 {
		s.metrics.Forget()
		start := time.Now()
		size = s.scrapeOnce(b, large.token)
		scrapes.all = append(scrapes.all, time.Since(start))
	}

	background.Go(func() {
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Second):
				refreshSamples()
			}
		}
	})
	before := cpuTime(b)
	tick := time.NewTicker(scrapeTurn / scrapeTenants)
	defer tick.Stop()
	start := time.Now()
	for range scrapeTurns {
		for _, c := range tenants {
			<-tick.C
			s.scrapeOnce(b, c.token)
		}
	}
	share := (cpuTime(b) - before).Seconds() / time.Since(start).Seconds()
	fmt.Printf("\nscrape of %d pods (%d KiB): p50 %.1f ms, p99 %.1f ms, with the reading of its metrics (goal: under 50)\n", scrapePods, size>>10,
		1000*scrapes.at(0.5).Seconds(), 1000*scrapes.at(0.99).Seconds())
	fmt.Printf("%d tenants scraped every %s: %.1f %% of one core, clients included (goal: under 10)\n", scrapeTenants, scrapeTurn, 100*share)
	b.ReportMetric(1000*scrapes.at(0.99).Seconds(), "p99-ms")
	b.ReportMetric(100*share, "core-%")
	b.ReportMetric(0, "ns/op")
}

// scrapeOnce requests the metrics with gzip, as Prometheus does, and reads the whole response.
func (s fixture) scrapeOnce(b *testing.B, token string) int64 {
	b.Helper()
	r := s.request("GET", "/v1/metrics", token, nil)
	resp, err := s.web.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatal(resp.Status, err)
	}
	return n
}

// cpuTime returns the CPU time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
