// SPDX-License-Identifier: Apache-2.0

// Package zones tells agents which names the networks on their nodes have. The zones of a tenant are read once for all nodes that wait, and again
// when a hint says that something in the tenant's network has changed. A node that has one of the latest versions of a zone gets only what has
// changed since then.
package zones

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"husk/service"
	"husk/store"
	"husk/store/services"
)

const (
	// maxBytes is less than what an agent accepts in a response. A zone that is larger is alone in its response.
	maxBytes = 8 << 20
	// readEvery is how old zones may be although there was no hint, because hints may be lost.
	readEvery = 15 * time.Second
	// keptFor is how long the zones of a tenant are kept for whom no node waits.
	keptFor = time.Minute
	// maxOlder is how many older versions of a zone are kept, for the changes since then.
	maxOlder = 8
	// restFactor and minRest say how long zones are not read again after a read, so that frequent changes do not keep Postgres busy.
	restFactor = 4
	minRest    = 20 * time.Millisecond
)

// Zones knows the zones of the tenants whose nodes wait for changes.
type Zones struct {
	control store.Control
	suffix  string

	mu      sync.Mutex
	tenants map[uuid.UUID]*tenant
	swept   time.Time
}

// tenant is the zones of one tenant. Zones.mu guards it, except for reading.
type tenant struct {
	reading sync.Mutex // held by the one who reads
	zones   map[uuid.UUID]*zone
	readAt  time.Time
	usedAt  time.Time
	rest    time.Duration
	stale   bool
	waiting map[chan struct{}]bool
}

// zone is the latest version of a zone, and the versions before it.
type zone struct {
	service.Zone

	bytes int
	older []service.Zone // the latest one last

	mu      sync.Mutex
	changes map[string]sized // since an older version
}

type sized struct {
	service.Zone

	bytes int
}

// New returns zones in which all names end with this suffix.
func New(control store.Control, suffix string) *Zones {
	z := &Zones{control: control, suffix: suffix, tenants: map[uuid.UUID]*tenant{}}
	control.OnNetworkChange(z.mark)
	return z
}

// Next returns what differs from the zones that a node knows, by their versions. If nothing does, it waits for so long at most.
func (z *Zones) Next(ctx context.Context, node uuid.UUID, known map[uuid.UUID]string, wait time.Duration) (service.Update, error) {
	moved, done := z.control.WatchNode(node)
	defer done()
	changed := make(chan struct{}, 1)
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	var networks []services.Network
	for reread, last := true, wait <= 0; ; {
		if reread {
			var err error
			if networks, err = z.control.NetworksOfNode(ctx, node); err != nil {
				return service.Update{}, err
			}
		}
		update, unsubscribe, err := z.differ(ctx, networks, known, changed)
		if err != nil || last || len(update.Zones)+len(update.RemovedNetworks) > 0 {
			unsubscribe()
			return update, err
		}
		reread = false
		select {
		case <-changed:
		case <-moved:
			reread = true
		case <-timeout.C:
			reread, last = true, true
		case <-ctx.Done():
			unsubscribe()
			return update, ctx.Err()
		}
		unsubscribe()
	}
}

// differ returns what differs from the known zones at the moment. changed gets a hint at each later change, until unsubscribe is called.
func (z *Zones) differ(ctx context.Context, networks []services.Network, known map[uuid.UUID]string, changed chan struct{}) (u service.Update, unsubscribe func(), _ error) {
	u = service.Update{Zones: []service.Zone{}, RemovedNetworks: []uuid.UUID{}}
	var subscribed []uuid.UUID
	unsubscribe = func() { z.leave(subscribed, changed) }
	here := make(map[uuid.UUID]bool, len(networks))
	bytes := 0
	for _, n := range networks {
		subscribed = append(subscribed, n.TenantID) // before the read, so that no change is missed
		zones, err := z.read(ctx, n.TenantID, z.subscribe(n.TenantID, changed))
		if err != nil {
			return u, unsubscribe, err
		}
		is, exists := zones[n.ID]
		if !exists {
			continue
		}
		here[n.ID] = true
		if known[n.ID] == is.Version {
			continue
		}
		changes := is.since(known[n.ID])
		if bytes > 0 && bytes+changes.bytes > maxBytes {
			continue // the agent asks again at once
		}
		bytes += changes.bytes
		u.Zones = append(u.Zones, changes.Zone)
	}
	for network := range known {
		if !here[network] {
			u.RemovedNetworks = append(u.RemovedNetworks, network)
		}
	}
	return u, unsubscribe, nil
}

// since returns what has changed since a version, or the whole zone if that version is not known.
func (z *zone) since(version string) sized {
	z.mu.Lock()
	defer z.mu.Unlock()
	if c, ok := z.changes[version]; ok {
		return c
	}
	i := slices.IndexFunc(z.older, func(o service.Zone) bool { return o.Version == version })
	if i < 0 {
		return sized{z.Zone, z.bytes}
	}
	changes := z.ChangesSince(z.older[i])
	c := sized{changes, changes.Bytes()}
	z.changes[version] = c
	return c
}

// after returns the zone as the next version of another one, which may be nil.
func after(was *zone, now service.Zone) *zone {
	z := &zone{Zone: now, bytes: now.Bytes(), changes: map[string]sized{}}
	if was != nil {
		z.older = append(slices.Clone(was.older), was.Zone)
		z.older = z.older[max(0, len(z.older)-maxOlder):]
	}
	return z
}

// read returns the zones of a tenant, which are as new as the latest hint.
func (z *Zones) read(ctx context.Context, id uuid.UUID, t *tenant) (map[uuid.UUID]*zone, error) {
	t.reading.Lock()
	defer t.reading.Unlock()
	z.mu.Lock()
	known, rest := t.zones, time.Until(t.readAt.Add(t.rest))
	fresh := !t.stale && known != nil && time.Since(t.readAt) < readEvery
	z.mu.Unlock()
	if fresh {
		return known, nil
	}
	if rest > 0 {
		timer := time.NewTimer(rest)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	z.mu.Lock()
	t.stale = false // a hint from now on makes it stale again
	z.mu.Unlock()
	began := time.Now()
	zones, err := z.control.Zones(ctx, id, z.suffix)
	now := make(map[uuid.UUID]*zone, len(zones))
	for _, is := range zones {
		if was := known[is.NetworkID]; was != nil && was.Version == is.Version {
			now[is.NetworkID] = was
			continue
		}
		now[is.NetworkID] = after(known[is.NetworkID], is)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if err != nil {
		t.stale = true
		return nil, err
	}
	t.zones, t.readAt = now, time.Now()
	t.rest = max(restFactor*t.readAt.Sub(began), minRest)
	return now, nil
}

// mark marks the zones of a tenant as stale, or those of all, and wakes those who wait for them.
func (z *Zones) mark(id uuid.UUID, all bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if all {
		for _, t := range z.tenants {
			t.mark()
		}
	} else if t := z.tenants[id]; t != nil {
		t.mark()
	}
}

func (t *tenant) mark() {
	t.stale = true
	for ch := range t.waiting {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func (z *Zones) subscribe(id uuid.UUID, changed chan struct{}) *tenant {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.sweep()
	t := z.tenants[id]
	if t == nil {
		t = &tenant{waiting: map[chan struct{}]bool{}}
		z.tenants[id] = t
	}
	t.waiting[changed], t.usedAt = true, time.Now()
	return t
}

// leave ends subscriptions.
func (z *Zones) leave(ids []uuid.UUID, changed chan struct{}) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, id := range ids {
		if t := z.tenants[id]; t != nil {
			delete(t.waiting, changed)
		}
	}
}

// sweep forgets tenants for whom no node has waited for a while. The caller holds mu.
func (z *Zones) sweep() {
	if time.Since(z.swept) < keptFor {
		return
	}
	z.swept = time.Now()
	for id, t := range z.tenants {
		if len(t.waiting) == 0 && time.Since(t.usedAt) > keptFor {
			delete(z.tenants, id)
		}
	}
}
