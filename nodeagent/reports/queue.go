// SPDX-License-Identifier: Apache-2.0

// Package reports decides what an agent reports about its pods, and when. Its input comes from guests, so one guest must not be able to
// delay the reports about the others: every report stays within the contract's limits (bound.go), and each pod has a rate of its own
// (queue.go). It does no I/O. Package nodeagent sends the batches.
package reports

import (
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/limits"
)

const (
	// Interval is the time between two reports about a pod. A report with another event does not wait, unless the last report did not
	// wait either.
	Interval = time.Second
	// maxRetry is the longest pause before a report that the server could not record is sent again.
	maxRetry = time.Minute
	// batchBytes limits a batch, in bytes of JSON. A server accepts 4 MiB, which must also hold the usage intervals.
	batchBytes = 5 << 19
)

// Queue keeps the latest state of each pod until the server has recorded it.
type Queue struct {
	mu   sync.Mutex
	pods map[uuid.UUID]*entry
}

type entry struct {
	latest  husk.PodReport
	pending bool
	event   husk.PhaseEvent // of the last report that was sent
	next    time.Time       // when the next report with the same event is due
	failed  int             // how often in succession the server could not record it
	retry   time.Time       // not before this time
}

// due returns the earliest time at which the pending report can be sent.
func (e *entry) due() time.Time {
	at := e.next
	if e.latest.Event != e.event {
		at = at.Add(-Interval)
	}
	if e.retry.After(at) {
		at = e.retry
	}
	return at
}

// NewQueue returns an empty queue.
func NewQueue() *Queue { return &Queue{pods: map[uuid.UUID]*entry{}} }

// Set records the current state of a pod.
func (q *Queue) Set(r husk.PodReport) {
	r = Bounded(r)
	q.mu.Lock()
	defer q.mu.Unlock()
	e, ok := q.pods[r.PodID]
	if !ok {
		e = &entry{}
		q.pods[r.PodID] = e
	}
	if ok && reflect.DeepEqual(e.latest, r) {
		return
	}
	e.latest, e.pending = r, true
}

// Resync makes all reports pending again, because the server had marked the node as lost.
func (q *Queue) Resync() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.pods {
		e.pending = true
	}
}

// Forget drops a pod that is no longer in the desired state.
func (q *Queue) Forget(pod uuid.UUID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.pods, pod)
}

// Next returns when the next report is due, and false if none is pending.
func (q *Queue) Next() (at time.Time, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.pods {
		if due := e.due(); e.pending && (!ok || due.Before(at)) {
			at, ok = due, true
		}
	}
	return at, ok
}

// Take returns the reports that are due, as many as one request can hold, beginning with those that became due first. If all is true, it
// also returns those that are not due yet.
func (q *Queue) Take(now time.Time, all bool) []husk.PodReport {
	q.mu.Lock()
	defer q.mu.Unlock()
	var due []*entry
	for _, e := range q.pods {
		if e.pending && (all || !e.due().After(now)) {
			due = append(due, e)
		}
	}
	slices.SortFunc(due, func(a, b *entry) int { return a.due().Compare(b.due()) })
	batch := make([]husk.PodReport, 0, min(len(due), limits.ReportItems))
	bytes := 0
	for _, e := range due {
		bytes += size(e.latest)
		if len(batch) > 0 && bytes > batchBytes || len(batch) == limits.ReportItems {
			break
		}
		batch = append(batch, e.latest)
		e.pending, e.event = false, e.latest.Event
		if e.next.Before(now) {
			e.next = now
		}
		e.next = e.next.Add(Interval)
	}
	return batch
}

// GiveBack makes reports pending again, because no server has accepted the batch.
func (q *Queue) GiveBack(batch []husk.PodReport) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range batch {
		if e, ok := q.pods[r.PodID]; ok {
			e.pending = true
			e.next = e.next.Add(-Interval)
		}
	}
}

// Recorded notes that a server has recorded the report, or will never accept it.
func (q *Queue) Recorded(r husk.PodReport) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e, ok := q.pods[r.PodID]; ok {
		e.failed, e.retry = 0, time.Time{}
	}
}

// Retry makes a report pending again, because the server accepted it but could not record it. Each failure doubles the pause before it is
// sent again.
func (q *Queue) Retry(r husk.PodReport, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e, ok := q.pods[r.PodID]; ok {
		e.pending = true
		e.retry = now.Add(min(Interval<<min(e.failed, 10), maxRetry))
		e.failed++
	}
}
