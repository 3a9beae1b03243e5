// SPDX-License-Identifier: Apache-2.0

package simulated

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Meter measures the requests of all agents.
type Meter struct {
	mu   sync.Mutex
	took map[string][]time.Duration
	fail map[string]int
	last map[string]string
	state
}

// state is what the agents got about their desired states.
type state struct{ changes, bytes int }

func newMeter() *Meter {
	m := &Meter{}
	m.Reset()
	return m
}

// Reset begins another measurement.
func (m *Meter) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.took, m.fail, m.last, m.state = map[string][]time.Duration{}, map[string]int{}, map[string]string{}, state{}
}

func (m *Meter) request(what string, took time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.fail[what]++
		m.last[what] = err.Error()
		return
	}
	m.took[what] = append(m.took[what], took)
}

// desired counts a response with changes, but not one that only ends a poll.
func (m *Meter) desired(changes, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if changes > 0 {
		m.changes += changes
		m.bytes += bytes
	}
}

// Requests are the measurements of one kind of request.
type Requests struct {
	Count, Failed int
	P50, P99, Max time.Duration
	LastError     string
}

func (r Requests) String() string {
	text := fmt.Sprintf("%d requests, p50 %s, p99 %s, max %s", r.Count, r.P50.Round(time.Millisecond/10), r.P99.Round(time.Millisecond/10), r.Max.Round(time.Millisecond))
	if r.Failed > 0 {
		text += fmt.Sprintf(", %d failed, the last one: %s", r.Failed, r.LastError)
	}
	return text
}

// The kinds of requests.
const (
	Heartbeats = "heartbeat"
	Polls      = "desired state"
	Reports    = "report"
	Samples    = "samples"
)

// Of returns the measurements of one kind since Reset. Polls are not timed, because they wait for a change.
func (m *Meter) Of(what string) Requests {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := Requests{Count: len(m.took[what]), Failed: m.fail[what], LastError: m.last[what]}
	if r.Count == 0 {
		return r
	}
	sorted := slices.Sorted(slices.Values(m.took[what]))
	r.P50, r.P99, r.Max = sorted[r.Count/2], sorted[r.Count*99/100], sorted[r.Count-1]
	return r
}

// Desired returns how many changes of desired states the agents got since Reset, and the bytes of the responses with
// them.
func (m *Meter) Desired() (changes, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changes, m.bytes
}
