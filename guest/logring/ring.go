// SPDX-License-Identifier: Apache-2.0

// Package logring keeps the latest output of a container, as entries that can be read repeatedly
// and followed.
package logring

import (
	"context"
	"sync"

	"husk/guest"
)

const (
	// ringBytes limits the output kept per container. It uses the pod's memory.
	ringBytes = 1 << 20
	// entryOverhead is the memory of an entry in addition to its bytes.
	entryOverhead = 96
	// readBatch limits what one reader takes at a time.
	readBatch = 1024
)

// Ring keeps the latest output of a container. Writers never wait: output that no reader has read
// in time is dropped, which leaves a gap in the sequence numbers.
type Ring struct {
	mu      sync.Mutex
	entries []guest.LogEntry // entries[i].Seq == first+i
	first   uint64
	bytes   int
	closed  bool
	changed chan struct{} // closed and replaced at every change
}

// New returns an empty ring.
func New() *Ring { return &Ring{first: 1, changed: make(chan struct{})} }

// Add adds an entry with the next sequence number. The ring owns the entry from then on.
func (r *Ring) Add(e guest.LogEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.Seq = r.first + uint64(len(r.entries))
	r.entries = append(r.entries, e)
	r.bytes += len(e.Line) + entryOverhead
	drop := 0
	for r.bytes > ringBytes {
		r.bytes -= len(r.entries[drop].Line) + entryOverhead
		r.entries[drop] = guest.LogEntry{}
		drop++
	}
	r.entries = r.entries[drop:]
	r.first += uint64(drop)
	r.wake()
}

// Close tells followers that there will be no further entries.
func (r *Ring) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.wake()
}

func (r *Ring) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// read returns some entries after the given one. If there are none, it returns a channel that is
// closed when there may be some, or nil if there never will be.
func (r *Ring) read(after uint64) ([]guest.LogEntry, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := r.first + uint64(len(r.entries)) // the next sequence number
	if after+1 >= end {
		if r.closed {
			return nil, nil
		}
		return nil, r.changed
	}
	from := max(after+1, r.first)
	lost := from - (after + 1)
	got := r.entries[from-r.first:]
	got = append([]guest.LogEntry(nil), got[:min(len(got), readBatch)]...)
	got[0].Dropped = lost
	return got, nil
}

// CopyTo passes entries after the given one to emit, see guest.Handler.
func (r *Ring) CopyTo(ctx context.Context, after uint64, follow bool, emit func([]guest.LogEntry) error) error {
	for {
		got, more := r.read(after)
		if len(got) > 0 {
			if err := emit(got); err != nil {
				return err
			}
			after = got[len(got)-1].Seq
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
