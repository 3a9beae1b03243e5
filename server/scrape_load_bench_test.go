// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/openapi"
	"husk/store"
)

// The normal load during which scrapes are measured: the requests of 200 small tenants and of their nodes.
const (
	loadReads   = 40               // a second; every fourth is a list
	loadOrders  = 5                // a second, and as many deletions
	loadSamples = 10 * time.Second // in which the samples of all pods arrive once, as from agents
	loadOnNode  = 100              // pods whose samples arrive together
	loadPairs   = 6                // turns with scrapes and as many without
)

// BenchmarkScrapeBesideLoad measures what it adds to the processor time of this process and of Postgres that 200 tenants are scraped every 15 s
// while the same normal load continues. Every other pair of turns begins with the one that has scrapes, so that a drift affects both equally. The clients run in this process.
func BenchmarkScrapeBesideLoad(b *testing.B) {
	s, _, tenants, pods := scrapedFixture(b)
	load, clock := s.loadOf(b, tenants, pods), s.connect(store.RoleControl)
	load() // the first turn fills caches and is not counted
	var without, with []coreShare
	for pair := range loadPairs {
		for _, scraped := range [][]bool{{false, true}, {true, false}}[pair%2] {
			before, start := cpuUsed(b, clock), time.Now()
			stop := func() {}
			if scraped {
				stop = s.scrapeAll(b, tenants)
			}
			load()
			stop()
			used := cpuUsed(b, clock).minus(before).per(time.Since(start))
			if scraped {
				with = append(with, used)
			} else {
				without = append(without, used)
			}
		}
	}
	added := make([]float64, loadPairs)
	for i := range added {
		added[i] = with[i].total() - without[i].total()
	}
	mean := meanShare(with).minus(meanShare(without))
	fmt.Printf("\n%d pairs of turns of %s: %d reads and %d orders with their deletions a second, figures of %d pods every %s\n", loadPairs, scrapeTurn, loadReads, loadOrders,
		scrapePods+scrapeTenants*smallPods, loadSamples)
	fmt.Printf("without scrapes: %s\nwith %d tenants scraped every %s: %s\n", meanShare(without), scrapeTenants, scrapeTurn, meanShare(with))
	fmt.Printf("scrapes add %s (goal: under 10); by pair, lowest to highest: %.1f to %.1f %%\n", mean, 100*slices.Min(added), 100*slices.Max(added))
	b.ReportMetric(100*mean.total(), "added-core-%")
	b.ReportMetric(0, "ns/op")
}

// loadOf returns what does the same work in each turn: each piece has its time, and one that is late is done nevertheless.
func (s fixture) loadOf(b *testing.B, tenants []tenancy, pods []openapi.Pod) func() {
	b.Helper()
	rows, err := s.connect(store.RoleControl).Query(b.Context(), `SELECT node_id, figures FROM pod_samples`)
	if err != nil {
		b.Fatal(err)
	}
	var node uuid.UUID
	samples, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (sample husk.PodSample, err error) {
		err = row.Scan(&node, &sample)
		return sample, err
	})
	if err != nil {
		b.Fatal(err)
	}
	together := slices.Collect(slices.Chunk(samples, loadOnNode))
	ask := func(method, path, token string, body any, want int) openapi.Pod {
		a := s.call(method, path, token, body)
		if a.status != want {
			b.Errorf("%s %s gets the response %d %s", method, path, a.status, a.body)
			return openapi.Pod{}
		}
		var pod openapi.Pod
		if method == http.MethodPost {
			pod = as[openapi.Pod](b, a, want)
		}
		return pod
	}
	read := func(i int) {
		of := i % len(tenants)
		if i%4 == 0 {
			ask(http.MethodGet, "/v1/pods?limit=100", tenants[of].token, nil, http.StatusOK)
			return
		}
		ask(http.MethodGet, "/v1/pods/"+pods[of].ID.String(), tenants[of].token, nil, http.StatusOK)
	}
	order := func(i int) {
		c := tenants[i%len(tenants)]
		pod := ask(http.MethodPost, "/v1/pods", c.token, c.body(named("load")), http.StatusCreated)
		ask(http.MethodDelete, "/v1/pods/"+pod.ID.String(), c.token, nil, http.StatusAccepted)
	}
	report := func(i int) {
		if err := s.store.RecordSamples(b.Context(), node, together[i%len(together)]); err != nil {
			b.Error(err)
		}
	}
	return func() {
		var running sync.WaitGroup
		evenly := func(times int, do func(i int)) {
			running.Go(func() {
				start := time.Now()
				for i := range times {
					time.Sleep(time.Until(start.Add(scrapeTurn * time.Duration(i) / time.Duration(times))))
					do(i)
				}
			})
		}
		seconds := int(scrapeTurn / time.Second)
		evenly(loadReads*seconds, read)
		evenly(loadOrders*seconds, order)
		evenly(len(together)*seconds/int(loadSamples/time.Second), report)
		running.Wait()
	}
}

// scrapeAll begins to scrape all, each once in a turn, and returns what waits until that is done. The server keeps its copy of the metrics only during that time.
func (s fixture) scrapeAll(b *testing.B, tenants []tenancy) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var copying, scraping sync.WaitGroup
	copying.Go(func() { s.metrics.Run(ctx) })
	scraping.Go(func() {
		start := time.Now()
		for i, c := range tenants {
			time.Sleep(time.Until(start.Add(scrapeTurn * time.Duration(i) / time.Duration(len(tenants)))))
			s.scrapeOnce(b, c.token)
		}
	})
	return func() {
		scraping.Wait()
		cancel()
		copying.Wait()
	}
}

// coreShare is processor time of this process and of Postgres, in seconds, or in cores when it is of a second.
type coreShare struct{ here, postgres float64 }

func (c coreShare) total() float64 { return c.here + c.postgres }

func (c coreShare) minus(o coreShare) coreShare {
	return coreShare{c.here - o.here, c.postgres - o.postgres}
}

func (c coreShare) per(d time.Duration) coreShare {
	return coreShare{c.here / d.Seconds(), c.postgres / d.Seconds()}
}

func (c coreShare) String() string {
	return fmt.Sprintf("%.1f %% of one core (%.1f %% server and clients, %.1f %% Postgres)", 100*c.total(), 100*c.here, 100*c.postgres)
}

func meanShare(all []coreShare) (mean coreShare) {
	for _, c := range all {
		mean.here += c.here / float64(len(all))
		mean.postgres += c.postgres / float64(len(all))
	}
	return mean
}

// cpuUsed returns the CPU time that this process and all of Postgres have used so far.
func cpuUsed(b *testing.B, db *pgx.Conn) coreShare {
	b.Helper()
	var backend int
	if err := db.QueryRow(b.Context(), `SELECT pg_backend_pid()`).Scan(&backend); err != nil {
		b.Fatal(err)
	}
	of, err := processOf(backend)
	if err != nil {
		b.Fatal(err)
	}
	postmaster, err := processOf(of.parent)
	if err != nil {
		b.Fatal(err)
	}
	ticks := postmaster.own + postmaster.ended
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			b.Fatal(err)
		}
		if p, err := processOf(pid); err == nil && p.parent == of.parent { // else it has ended
			ticks += p.own
		}
	}
	const ticksPerSecond = 100 // USER_HZ, proc(5)
	return coreShare{cpuTime(b).Seconds(), float64(ticks) / ticksPerSecond}
}

// process is what the kernel says of one; times are in ticks.
type process struct {
	parent     int
	own, ended int // itself, and its children that have ended
}

func processOf(pid int) (p process, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // no name of Postgres has one
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return p, fmt.Errorf("/proc/%d/stat is %q", pid, text)
	}
	numbers := make([]int, 15)
	for i := 1; i < len(numbers); i++ {
		if numbers[i], err = strconv.Atoi(fields[i]); err != nil {
			return p, err
		}
	}
	return process{parent: numbers[1], own: numbers[11] + numbers[12], ended: numbers[13] + numbers[14]}, nil
}
