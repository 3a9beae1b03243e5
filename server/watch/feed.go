// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/store"
)

const (
	// ReadEvery is how often a feed reads although there is no hint, because hints may be lost.
	ReadEvery = 15 * time.Second
	// restFactor and minRest say how long a feed waits after a read, so that frequent changes of long lists do not keep Postgres busy.
	restFactor = 4
	minRest    = 20 * time.Millisecond
	// maxGone is how many deleted objects a feed remembers for watches that have not sent the deletion yet.
	maxGone = 128
)

var (
	errSlow  = errors.New("the reader is too slow: changes that it has not read were forgotten")
	errEnded = errors.New("the feed has ended")
	errLost  = husk.Errorf(husk.CodeUnauthenticated, "", "the credentials of this token no longer exist or have another role; log in again")
)

// entry is one version of an object. It does not change.
type entry[T any] struct {
	id      uuid.UUID
	object  T
	version uint64
	gone    bool
	frames  frames
}

// feed is the objects of one tenant.
type feed[T any] struct {
	kind    Kind[T]
	tenant  store.Tenant
	reads   prometheus.Counter
	wake    chan struct{}
	watches int // guarded by Feeds
	stop    context.CancelFunc
	running sync.WaitGroup

	mu        sync.Mutex
	callers   map[husk.Caller]int  // how many readers each has
	lost      map[husk.Caller]bool // those who had no access when the objects were read
	version   uint64
	objects   map[uuid.UUID]*entry[T]
	order     []*entry[T] // as they were read last
	changed   []*entry[T] // by version; an entry that is no longer the object's latest is skipped
	gone      []*entry[T] // the oldest first
	forgotten uint64      // changes up to this version are not complete any more
	wanted    uint64      // reads that watches have asked for
	done      uint64      // reads that were asked for and have ended
	moved     chan struct{}
	err       error
}

func newFeed[T any](kind Kind[T], tenant store.Tenant, reads prometheus.Counter) *feed[T] {
	return &feed[T]{kind: kind, tenant: tenant, reads: reads, wake: make(chan struct{}, 1), callers: map[husk.Caller]int{}, objects: map[uuid.UUID]*entry[T]{}, moved: make(chan struct{})}
}

// guarded is run, with an error instead of a panic: the feed is not part of a request, whose panic would be recovered.
func (f *feed[T]) guarded(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f.run(ctx)
}

// run reads whenever there is a hint, until ctx ends or a read fails.
func (f *feed[T]) run(ctx context.Context) error {
	hint, done := f.kind.Hints(f.tenant)
	defer done()
	tick := time.NewTicker(ReadEvery)
	defer tick.Stop()
	since := time.Time{}
	if f.kind.Settle > 0 {
		since = time.Now().Add(-f.kind.Settle)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-hint:
		case <-f.wake:
		case <-tick.C:
		}
		f.mu.Lock()
		asked, callers := f.wanted, slices.Collect(maps.Keys(f.callers))
		f.mu.Unlock()
		began := time.Now()
		objects, err := f.kind.Read(ctx, f.tenant, since)
		if err != nil {
			return err
		}
		lost, err := f.whoLost(ctx, callers)
		if err != nil {
			return err
		}
		f.reads.Inc()
		if f.kind.Settle > 0 {
			since = began.Add(-f.kind.Settle)
		}
		f.update(objects, lost, asked)
		rest := time.NewTimer(max(restFactor*time.Since(began), minRest))
		select {
		case <-ctx.Done():
			rest.Stop()
			return ctx.Err()
		case <-rest.C:
		}
	}
}

// whoLost returns those callers who have no access any more. It asks after the objects were read, so that nobody sees a change that was
// committed after they lost it.
func (f *feed[T]) whoLost(ctx context.Context, callers []husk.Caller) (map[husk.Caller]bool, error) {
	stand, err := f.tenant.CallersThatStand(ctx, callers)
	if err != nil {
		return nil, err
	}
	lost := map[husk.Caller]bool{}
	for _, caller := range callers {
		lost[caller] = true
	}
	for _, caller := range stand {
		delete(lost, caller)
	}
	return lost, nil
}

// update compares what was read with what is known. asked is how many requests for a read it fulfils.
func (f *feed[T]) update(objects []T, lost map[husk.Caller]bool, asked uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = lost
	before := f.objects
	f.objects, f.order = make(map[uuid.UUID]*entry[T], len(objects)), make([]*entry[T], 0, len(objects))
	was := f.version
	for _, object := range objects {
		id := f.kind.ID(object)
		e := before[id]
		if e == nil || !reflect.DeepEqual(e.object, object) {
			f.version++
			e = &entry[T]{id: id, object: object, version: f.version}
			f.changed = append(f.changed, e)
		}
		f.objects[id] = e
		f.order = append(f.order, e)
	}
	for id, e := range before {
		if f.objects[id] != nil {
			continue
		}
		if f.kind.Settle > 0 {
			f.forgotten = max(f.forgotten, e.version)
			continue
		}
		f.version++
		e = &entry[T]{id: id, object: e.object, version: f.version, gone: true}
		f.changed, f.gone = append(f.changed, e), append(f.gone, e)
	}
	for len(f.gone) > maxGone {
		f.forgotten = max(f.forgotten, f.gone[0].version)
		f.gone = slices.Delete(f.gone, 0, 1)
	}
	if live := len(f.objects) + len(f.gone); len(f.changed) > live+live/8+16 { // old versions can be large
		f.changed = slices.DeleteFunc(f.changed, f.outdated)
	}
	if asked != f.done || f.version != was || len(lost) > 0 {
		f.done = asked
		f.tell()
	}
}

// outdated reports whether there is a later version of the object, or its deletion was forgotten.
func (f *feed[T]) outdated(e *entry[T]) bool {
	if e.gone {
		return e.version <= f.forgotten || f.objects[e.id] != nil
	}
	return f.objects[e.id] != e
}

// tell wakes all watches. The caller holds mu.
func (f *feed[T]) tell() {
	close(f.moved)
	f.moved = make(chan struct{})
}

// end ends all watches with this error.
func (f *feed[T]) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = errors.Join(errEnded, err)
	f.tell()
}

// enter counts a reader with this caller. The reads that begin after it check the caller. Call leave when done.
func (f *feed[T]) enter(caller husk.Caller) (leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.callers[caller]++
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.callers[caller]--; f.callers[caller] == 0 {
			delete(f.callers, caller)
		}
	}
}

// fresh waits for a read that begins after the call. It returns the objects in the order of the list, and their version. Codes:
// unauthenticated.
func (f *feed[T]) fresh(ctx context.Context, caller husk.Caller) ([]*entry[T], uint64, error) {
	f.mu.Lock()
	f.wanted++
	mine := f.wanted
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
	for {
		f.mu.Lock()
		done, moved, order, version, lost, err := f.done, f.moved, f.order, f.version, f.lost[caller], f.err
		f.mu.Unlock()
		switch {
		case err != nil:
			return nil, 0, err
		case done >= mine && lost:
			return nil, 0, errLost
		case done >= mine:
			return order, version, nil
		}
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-moved:
		}
	}
}

// after returns what has changed since this version, the version now, and a channel that is closed at the next change. A caller who has lost
// their access gets an error instead.
func (f *feed[T]) after(version uint64, caller husk.Caller) ([]*entry[T], uint64, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.err != nil:
		return nil, 0, nil, f.err
	case f.lost[caller]:
		return nil, 0, nil, errLost
	case version < f.forgotten:
		return nil, 0, nil, errSlow
	}
	first, _ := slices.BinarySearchFunc(f.changed, version+1, func(e *entry[T], v uint64) int { return int(e.version) - int(v) }) //nolint:gosec // far below the limit
	var changed []*entry[T]
	for _, e := range f.changed[first:] {
		if !f.outdated(e) {
			changed = append(changed, e)
		}
	}
	return changed, f.version, f.moved, nil
}
