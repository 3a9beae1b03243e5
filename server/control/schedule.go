// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"log/slog"
	"time"

	"husk"
	"husk/scheduler"
	"husk/store"
)

const (
	// ScheduleBatch is the maximum number of pending pods per pass. It is large, so that one statement serves many pods. A pass of this size still
	// takes less than a second.
	ScheduleBatch = 10_000
	// wakeBatch is the maximum number of deferred pods that are retried at once when capacity is freed.
	wakeBatch = 1000
	// wasteEvery is how often the stranded capacity is measured while there is nothing to place.
	wasteEvery = 15 * time.Second
)

// scheduleLimits limit what one pass does in addition to placing. The next pass does the rest.
var scheduleLimits = scheduler.Limits{Preemptions: 100, Explanations: 200}

// scheduling places pods. It keeps its index from pass to pass.
type scheduling struct {
	store   store.Control
	log     *slog.Logger
	metrics *metrics
	index   *index
	free    map[store.ID]husk.Resources // free capacity of each node, to notice where capacity was freed
	counted time.Time                   // when the stranded capacity was last measured
	room    room
}

func newScheduling(s store.Control, log *slog.Logger, m *metrics, moves int) *scheduling {
	p := &scheduling{store: s, log: log, metrics: m, index: newIndex(s, log), room: newRoom(moves)}
	if moves > 0 {
		p.index.params = scheduler.WithMoves()
	}
	return p
}

// pass packs the pending pods that are due, and commits the batch in one statement. It defers pods that do not fit and records why, and evicts pods of
// lower priority in favour of those with a higher one. If a pass fails midway, it has placed either its whole batch or nothing.
func (p *scheduling) pass(ctx context.Context, epoch int64) error {
	pending, err := p.store.PendingPods(ctx, ScheduleBatch)
	if err != nil {
		return err
	}
	p.metrics.queueAge.Set(oldest(pending).Seconds())
	waiting, err := p.store.AnyDeferred(ctx)
	if err != nil {
		return err
	}
	if len(pending) == 0 && !waiting && time.Since(p.counted) < wasteEvery {
		return nil
	}
	nodes, err := p.index.sync(ctx)
	if err != nil {
		return err
	}
	if p.index.rebuilt {
		p.free = nil // treat all free capacity as freed
	}
	for _, id := range p.index.changed {
		delete(p.free, id) // the constraints that rule out the node may have changed too, so treat its free capacity as freed
	}
	if freed := p.freed(nodes); waiting && freed != (husk.Resources{}) {
		woken, err := p.store.Wake(ctx, freed, wakeBatch)
		if err != nil {
			return err
		}
		if woken > 0 {
			return ErrMore
		}
	}
	defer p.count()
	if len(pending) == 0 {
		return nil
	}
	placed, refused, err := p.place(ctx, epoch, pending)
	if err != nil {
		p.index.reset() // the next sync re-reads the committed state
		return err
	}
	if placed+refused < len(pending) || placed > 0 && len(pending) == ScheduleBatch {
		return ErrMore // the database changed, so some pods were neither placed nor refused, or the batch was full
	}
	return nil
}

// oldest returns the age of the oldest of these pods, 0 if there is none.
func oldest(pods []store.PendingPod) time.Duration {
	age := time.Duration(0)
	for _, p := range pods {
		age = max(age, time.Since(p.CreatedAt))
	}
	return age
}

// count measures the stranded capacity.
func (p *scheduling) count() {
	p.counted = time.Now()
	if p.index.fleet != nil {
		p.metrics.waste(p.index.fleet.Waste())
	}
}

// place decides about a batch and commits the decision: placements first, then evictions, then refusals with their reasons.
func (p *scheduling) place(ctx context.Context, epoch int64, pending []store.PendingPod) (placed, refused int, err error) {
	if err := p.index.ruleFor(ctx, pending); err != nil {
		return 0, 0, err
	}
	now := time.Now()
	due, refusals := p.ready(pending, now)
	pods := make([]scheduler.Pod, len(due))
	for i, d := range due {
		pods[i] = p.index.pod(store.PodKey{TenantID: d.TenantID, ID: d.ID}, d.Size, d.ScratchGiB, d.Labels, d.Scheduling)
		pods[i].Selector = withCapabilities(pods[i].Selector, d.Needs)
		if g := d.Scheduling.Gang; g != nil && d.GangPlaced == 0 { // if other pods of the gang are already placed, this pod was evicted: place it alone
			pods[i].Gang = d.TenantID.String() + "/" + g.Name
		}
	}
	decision := p.index.fleet.Decide(pods, scheduleLimits)
	if placed, err = p.commit(ctx, epoch, due, decision); err != nil {
		return 0, 0, err
	}
	victims := make([]store.Eviction, 0, len(decision.Evictions))
	for _, e := range decision.Evictions {
		victims = append(victims, store.Eviction{Pod: p.index.keys[e.Victim], Node: p.index.nodeOf(p.index.fleet.NodeOf(e.Victim)).node.ID})
	}
	evicted, err := p.store.Evict(ctx, epoch, victims, "Preempted", "evicted in favour of a pod with a higher priority; the pod starts again when it fits on a node")
	if err != nil {
		return 0, 0, err
	}
	for _, pod := range evicted {
		p.log.Info("evicted in favour of a higher priority", "tenant", pod.TenantID, "pod", pod.ID)
	}
	p.metrics.evictions.Add(float64(len(evicted)))
	for i, r := range decision.Refusals {
		if r != nil {
			refusals = append(refusals, p.refusal(due[i], *r, now))
			p.metrics.refusals.WithLabelValues(string(r.Reason)).Inc()
		}
	}
	if err := p.store.Refuse(ctx, refusals); err != nil {
		return 0, 0, err
	}
	return placed, len(refusals), p.makeRoom(ctx, epoch, pods, decision.Refusals)
}

// ready separates the pods that can be placed from those that wait for a volume, an image or the rest of their gang.
func (p *scheduling) ready(pending []store.PendingPod, now time.Time) (due []store.PendingPod, refusals []store.Refusal) {
	type gang struct {
		tenant store.ID
		name   string
	}
	here := map[gang]int{}
	for _, d := range pending {
		if g := d.Scheduling.Gang; g != nil && d.WaitsFor == "" {
			here[gang{d.TenantID, g.Name}]++
		}
	}
	for _, d := range pending {
		if g := d.Scheduling.Gang; g != nil && d.WaitsFor == "" && d.GangPlaced == 0 && here[gang{d.TenantID, g.Name}] < d.GangCreated {
			d.WaitsFor = "other pods of gang \"" + g.Name + "\" are not ready to be placed"
		}
		if d.WaitsFor == "" {
			due = append(due, d)
			continue
		}
		refusals = append(refusals, store.Refusal{
			Pod: store.PodKey{TenantID: d.TenantID, ID: d.ID}, Reason: string(husk.PlacementWaiting), Message: d.WaitsFor, Waits: true,
			Decision: husk.Placement{Outcome: husk.PlacementWaiting, DecidedAt: &now, Reason: string(husk.PlacementWaiting), Message: d.WaitsFor},
		})
	}
	return due, refusals
}

// commit writes the placements to the database, and removes from the index those that the database refused.
func (p *scheduling) commit(ctx context.Context, epoch int64, due []store.PendingPod, decision scheduler.Decision) (int, error) {
	batch := make([]store.Placement, 0, len(due))
	handles := make(map[store.PodKey]scheduler.Handle, len(due))
	byKey := make(map[store.PodKey]*store.PendingPod, len(due))
	for i, h := range decision.Handles {
		if h == scheduler.Unplaced {
			continue
		}
		key := store.PodKey{TenantID: due[i].TenantID, ID: due[i].ID}
		handles[key], byKey[key] = h, &due[i]
		n := p.index.nodeOf(p.index.fleet.NodeOf(h))
		batch = append(batch, store.Placement{Pod: key, Node: n.node.ID, NodeVersion: n.node.Version, Score: scoreOf(decision.Scores[i])})
	}
	if len(batch) == 0 {
		return 0, nil
	}
	done, err := p.store.CommitPlacements(ctx, epoch, batch)
	if err != nil {
		return 0, err
	}
	charged := map[*indexNode]bool{}
	for _, key := range done {
		h := handles[key]
		n := p.index.nodeOf(p.index.fleet.NodeOf(h))
		p.index.placed(n, key, byKey[key].Size, h)
		p.took(n.node, byKey[key].Size)
		charged[n] = true
		delete(handles, key)
		p.log.Info("placed", "tenant", key.TenantID, "pod", key.ID, "node", n.node.Name)
		p.metrics.placed(byKey[key].Attempts+1, !byKey[key].Again, time.Since(byKey[key].CreatedAt))
	}
	for n := range charged {
		n.node.Version++ // the statement has increased the version, once per node
	}
	for _, h := range handles {
		p.index.nodeOf(p.index.fleet.NodeOf(h)).stale = true
		p.index.fleet.Forget(h)
	}
	p.metrics.conflicts.Add(float64(len(batch) - len(done)))
	return len(done), nil
}

// freed returns the most cpu and the most memory that are free on nodes whose free capacity has grown since the last pass.
func (p *scheduling) freed(nodes []store.NodeCapacity) husk.Resources {
	var most husk.Resources
	now := make(map[store.ID]husk.Resources, len(nodes))
	for _, r := range nodes {
		if r.State != husk.NodeReady || r.Cordoned {
			continue
		}
		free := husk.Resources{CPUMillis: r.Capacity.CPUMillis - r.Allocated.CPUMillis, MemoryMiB: r.Capacity.MemoryMiB - r.Allocated.MemoryMiB - r.VMMOverheadMiB}
		now[r.ID] = free
		if before, known := p.free[r.ID]; !known || free.CPUMillis > before.CPUMillis || free.MemoryMiB > before.MemoryMiB {
			most.CPUMillis, most.MemoryMiB = max(most.CPUMillis, free.CPUMillis), max(most.MemoryMiB, free.MemoryMiB)
		}
	}
	p.free = now
	return most
}

// took subtracts a placement from the free capacity, so that the next pass notices when the capacity is freed again.
func (p *scheduling) took(node store.NodeCapacity, size husk.Resources) {
	free := p.free[node.ID]
	p.free[node.ID] = husk.Resources{CPUMillis: free.CPUMillis - size.CPUMillis, MemoryMiB: free.MemoryMiB - size.MemoryMiB - node.VMMOverheadMiB}
}
