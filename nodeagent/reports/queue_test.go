// SPDX-License-Identifier: Apache-2.0

package reports

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"husk"
	"husk/limits"
	"husk/openapi"
)

// A guest that changes its status a thousand times a second makes its node report it once a second.
func TestAPodIsReportedAtMostOncePerSecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, start := NewQueue(), time.Now()
		flapping, quiet := uuid.New(), uuid.New()
		sent := map[uuid.UUID][]time.Duration{}
		for i := range 10_000 {
			q.Set(husk.PodReport{PodID: flapping, Event: husk.EventRunning, Message: fmt.Sprint(i)})
			if i == 5500 {
				q.Set(husk.PodReport{PodID: quiet, Event: husk.EventRunning})
			}
			for _, r := range q.Take(time.Now(), false) {
				sent[r.PodID] = append(sent[r.PodID], time.Since(start))
			}
			time.Sleep(time.Millisecond)
		}
		second := time.Second
		want := map[uuid.UUID][]time.Duration{
			flapping: {0, second, 2 * second, 3 * second, 4 * second, 5 * second, 6 * second, 7 * second, 8 * second, 9 * second},
			quiet:    {5500 * time.Millisecond},
		}
		if diff := cmp.Diff(want, sent); diff != "" {
			t.Errorf("times of reports (-want +got):\n%s", diff)
		}
	})
}

func TestANewPhaseIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue()
		pod, start := uuid.New(), time.Now()
		type report struct {
			At    time.Duration
			Event husk.PhaseEvent
		}
		var sent []report
		for i := range 4000 {
			switch i {
			case 0:
				q.Set(husk.PodReport{PodID: pod, Event: husk.EventStarting})
			case 100:
				q.Set(husk.PodReport{PodID: pod, Event: husk.EventRunning})
			case 200: // the second phase within a second waits, so that phases that alternate are paced too
				q.Set(husk.PodReport{PodID: pod, Event: husk.EventStarting, Reason: "MachineDied"})
			}
			for _, r := range q.Take(time.Now(), false) {
				sent = append(sent, report{time.Since(start), r.Event})
			}
			time.Sleep(time.Millisecond)
		}
		if diff := cmp.Diff([]report{{0, husk.EventStarting}, {100 * time.Millisecond, husk.EventRunning}, {time.Second, husk.EventStarting}}, sent); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
	})
}

func TestAReportThatTheServerCannotRecordIsRetriedLessAndLessOften(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue()
		broken, other := uuid.New(), uuid.New()
		q.Set(husk.PodReport{PodID: broken, Event: husk.EventRunning})
		attempts := 0
		for range 600 {
			q.Set(husk.PodReport{PodID: other, Event: husk.EventRunning, Message: time.Now().String()})
			others := 0
			for _, r := range q.Take(time.Now(), false) {
				if r.PodID == broken {
					attempts++
					q.Retry(r, time.Now())
				} else {
					others++
					q.Recorded(r)
				}
			}
			if others != 1 {
				t.Fatalf("%d reports about the other pod in a second", others)
			}
			time.Sleep(time.Second)
		}
		if attempts < 10 || attempts > 20 {
			t.Errorf("%d attempts in ten minutes", attempts)
		}
	})
}

// Pods with long texts fill more than one request. The server accepts 4 MiB.
func TestABatchFitsIntoARequest(t *testing.T) {
	t.Parallel()
	q := NewQueue()
	for range 100 {
		r := husk.PodReport{PodID: uuid.New(), Event: husk.EventRunning, Message: strings.Repeat("<", 5000)}
		for i := range limits.Containers {
			r.Containers = append(r.Containers, husk.ContainerStatus{Name: fmt.Sprint("c", i), Message: strings.Repeat("<", 5000)})
		}
		q.Set(r)
	}
	seen := 0
	for batches := 0; seen < 100; batches++ {
		batch := q.Take(time.Now(), false)
		raw, err := json.Marshal(batch)
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 || len(raw) > 3<<20 || batches > 100 {
			t.Fatalf("a batch of %d reports has %d bytes", len(batch), len(raw))
		}
		seen += len(batch)
	}
}

// Whatever a guest says, the report about it matches the contract.
func FuzzBounded(f *testing.F) {
	f.Add(17, "reason", strings.Repeat("x", 5000), "name", 1<<40, int64(1<<40))
	f.Add(1, strings.Repeat("ü", 100), strings.Repeat("\xff", 5000), "\x00<", -1, int64(-1<<60))
	contract, err := openapi.GetSpec()
	if err != nil {
		f.Fatal(err)
	}
	schema := contract.Components.Schemas["PodReport"].Value
	f.Fuzz(func(t *testing.T, containers int, reason, message, name string, restarts int, at int64) {
		r := husk.PodReport{PodID: uuid.New(), Event: husk.EventRunning, Reason: reason, Message: message, Restarts: restarts}
		started := time.Unix(at, 0).In(time.FixedZone("far", 23*60*60+59*60))
		for range max(0, min(containers, 50)) {
			r.Containers = append(r.Containers, husk.ContainerStatus{
				Name: name, State: husk.ContainerRunning, Reason: reason, Message: message, Restarts: restarts, StartedAt: &started,
			})
		}
		wire, err := openapi.Recast[any](Bounded(r))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.VisitJSON(wire); err != nil {
			t.Error(err)
		}
		if raw, err := json.Marshal(wire); err != nil || len(raw) > size(Bounded(r)) {
			t.Errorf("%d bytes, counted as %d: %v", len(raw), size(Bounded(r)), err)
		}
	})
}
