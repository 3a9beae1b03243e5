// SPDX-License-Identifier: Apache-2.0

// Package logring keeps the latest output of a container, as entries that can be read repeatedly
// and followed.
package logring

import (
	"context"
	"sort"
	"sync"
	"time"

	"husk/guest"
)

const (
	// ringBytes limits the output kept per container. It uses the pod's memory.
	ringBytes = 1 << 20
	// inFlight is how much of the output that a follower was given is kept, in case the follower ends
	// before it has stored it: as much as the channel and a frame can hold.
	inFlight = 512 << 10
	// entryOverhead is the memory of an entry in addition to its bytes.
	entryOverhead = 96
	// readBatch limits the cost of what one reader takes at a time, so that writers need not wait for
	// long.
	readBatch = 128 << 10
	// look is how often a waiting writer checks how long it still has to wait.
	look = time.Second
)

// Ring keeps the latest output of a container. It is a pipe to its follower, the node's agent:
// when it is full, writers wait until the follower has read some. While there is no follower, they
// wait for a limited time, and then the oldest output is dropped, which leaves a gap in the
// positions.
type Ring struct {
	mu        sync.Mutex
	entries   []guest.LogEntry
	end       uint64 // the position of the last entry's end
	bytes     int    // the cost of all entries
	taken     uint64 // the position up to which a follower was given the output
	takenCost int    // the cost of the entries up to there
	followers int
	alone     time.Time // when the last follower left
	closed    bool
	changed   chan struct{} // closed and replaced when an entry was added
	freed     chan struct{} // closed and replaced when a follower has read
}

// New returns an empty ring.
func New() *Ring {
	return &Ring{alone: time.Now(), changed: make(chan struct{}), freed: make(chan struct{})}
}

func cost(e guest.LogEntry) int { return len(e.Bytes) + entryOverhead }

// Add adds an entry after the last one. The ring owns the entry from then on. If the ring is full,
// Add waits for the follower. Without a follower, it waits until hold has passed since the last one
// left.
func (r *Ring) Add(e guest.LogEntry, hold func() time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.bytes+cost(e) > ringBytes && len(r.entries) > 0 {
		oldest := r.entries[0]
		if oldest.Seq <= r.taken && r.takenCost-cost(oldest) >= inFlight {
			r.dropOldest()
			continue
		}
		if r.closed || r.followers == 0 && time.Since(r.alone) >= hold() {
			r.dropOldest()
			continue
		}
		r.wait()
	}
	r.end += uint64(len(e.Bytes))
	e.Seq = r.end
	r.entries = append(r.entries, e)
	r.bytes += cost(e)
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *Ring) dropOldest() {
	oldest := r.entries[0]
	r.bytes -= cost(oldest)
	if oldest.Seq <= r.taken {
		r.takenCost -= cost(oldest)
	}
	r.entries[0] = guest.LogEntry{}
	r.entries = r.entries[1:]
}

// wait waits for a follower. r.mu is held, but not while it waits.
func (r *Ring) wait() {
	freed := r.freed
	r.mu.Unlock()
	defer r.mu.Lock()
	timer := time.NewTimer(look)
	defer timer.Stop()
	select {
	case <-freed:
	case <-timer.C:
	}
}

// Close tells followers that there will be no further entries.
func (r *Ring) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	close(r.changed)
	r.changed = make(chan struct{})
}

// read returns some entries after a position. If there are none, it returns a channel that is
// closed when there may be some, or nil if there never will be.
func (r *Ring) read(after uint64) ([]guest.LogEntry, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := r.after(after)
	if from == len(r.entries) {
		if r.closed {
			return nil, nil
		}
		return nil, r.changed
	}
	to := from
	for size := 0; to < len(r.entries) && size < readBatch; to++ {
		size += cost(r.entries[to])
	}
	got := append([]guest.LogEntry(nil), r.entries[from:to]...)
	if first := &got[0]; first.Start() < after { // it was given in another division
		first.Bytes = first.Bytes[after-first.Start():]
	}
	return got, nil
}

// after returns the index of the first entry that ends after a position.
func (r *Ring) after(position uint64) int {
	return sort.Search(len(r.entries), func(i int) bool { return r.entries[i].Seq > position })
}

// gave records that a follower was given the output up to a position.
func (r *Ring) gave(position uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if position <= r.taken { // another follower was given it before
		return
	}
	for _, e := range r.entries[r.after(r.taken):r.after(position)] {
		r.takenCost += cost(e)
	}
	r.taken = position
	close(r.freed)
	r.freed = make(chan struct{})
}

func (r *Ring) follow(by int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.followers += by
	r.alone = time.Now()
}

// Drained reports whether a follower has been given all output, and no further can come.
func (r *Ring) Drained() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed && (r.taken == r.end || r.followers == 0)
}

// CopyTo passes entries after the given position to emit, see guest.Handler.
func (r *Ring) CopyTo(ctx context.Context, after uint64, follow bool, emit func([]guest.LogEntry) error) error {
	if follow {
		r.follow(1)
		defer r.follow(-1)
	}
	for {
		got, more := r.read(after)
		if len(got) > 0 {
			if err := emit(got); err != nil {
				return err
			}
			if after = got[len(got)-1].Seq; follow {
				r.gave(after)
			}
			continue
		}
		if !follow || more == nil {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
