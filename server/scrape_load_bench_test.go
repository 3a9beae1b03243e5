// SPDX-License-Identifier: Apache-2.0

package server

import (
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

// The normal load while the benchmark measures scrapes: requests of 200 small tenants and of their
// nodes.
const (
	loadReads   = 40               // per second; every fourth is a list
	loadCreates = 5                // per second, and as many deletions
	loadSamples = 10 * time.Second // the samples of all pods arrive once in this time, as from agents
	loadOnNode  = 100              // number of pods whose samples arrive together
	loadPairs   = 6                // number of turns with scrapes, and of turns without
)

// BenchmarkScrapeDuringLoad measures the additional CPU time of this process and of Postgres when
// 200 tenants are scraped every 15 s during a normal load. Turns with and without scrapes form
// pairs, and the order changes from pair to pair, so that a drift affects both equally. The clients
// run in this process.
func BenchmarkScrapeDuringLoad(b *testing.B) {
	s, _, tenants, pods := scrapedFixture(b)
	load, db := s.loadOf(b, tenants, pods), s.connect(store.RoleControl)
	load() // the first turn fills caches and is not counted
	var without, with []coreShare
	for pair := range loadPairs {
		for _, scraped := range [][]bool{{false, true}, {true, false}}[pair%2] {
			before, start := cpuUsed(b, db), time.Now()
			stop := func() {}
			if scraped {
				stop = s.scrapeAll(b, tenants)
			}
			load()
			stop()
			used := cpuUsed(b, db).minus(before).per(time.Since(start))
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
	fmt.Printf("\n%d pairs of turns of %s: %d reads and %d creations with their deletions per second, samples of %d pods every %s\n", loadPairs, scrapeTurn, loadReads, loadCreates,
		scrapePods+scrapeTenants*smallPods, loadSamples)
	fmt.Printf("without scrapes: %s\nwith %d tenants scraped every %s: %s\n", meanShare(without), scrapeTenants, scrapeTurn, meanShare(with))
	fmt.Printf("scrapes add %s (goal: under 10); by pair, lowest to highest: %.1f to %.1f %%\n", mean, 100*slices.Min(added), 100*slices.Max(added))
	b.ReportMetric(100*mean.total(), "added-core-%")
	b.ReportMetric(0, "ns/op")
}

// loadOf returns a function that does the work of one turn. Each request has a scheduled time. A
// request that is late is still sent.
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
	create := func(i int) {
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
		evenly(loadCreates*seconds, create)
		evenly(len(together)*seconds/int(loadSamples/time.Second), report)
		running.Wait()
	}
}

// scrapeAll starts to scrape each tenant once in a turn. The function stop waits until all scrapes
// are done.
func (s fixture) scrapeAll(b *testing.B, tenants []tenancy) (stop func()) {
	b.Helper()
	var scraping sync.WaitGroup
	scraping.Go(func() {
		start := time.Now()
		for i, c := range tenants {
			time.Sleep(time.Until(start.Add(scrapeTurn * time.Duration(i) / time.Duration(len(tenants)))))
			s.scrapeOnce(b, c.token)
		}
	})
	return scraping.Wait
}

// coreShare is CPU time of this process and of Postgres, in seconds, or in cores if it is divided
// by a duration.
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
		if p, err := processOf(pid); err == nil && p.parent == of.parent { // otherwise it has ended
			ticks += p.own
		}
	}
	const ticksPerSecond = 100 // USER_HZ, proc(5)
	return coreShare{cpuTime(b).Seconds(), float64(ticks) / ticksPerSecond}
}

// process is the kernel's record of a process. Times are in ticks.
type process struct {
	parent     int
	own, ended int // CPU time of the process, and of its children that have ended
}

func processOf(pid int) (p process, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // names of Postgres' processes contain no parenthesis
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
