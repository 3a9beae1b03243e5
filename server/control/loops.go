// SPDX-License-Identifier: Apache-2.0

// Package control holds the background work of the platform: scheduling pods, detecting lost nodes, importing images, creating volumes and
// keys, closing the hours of the usage ledger, and removing objects that have no owner.
//
// # How it works
//
// Every server takes part in an election (store.Control.Lead). The one that leads runs every loop, each in a goroutine of its own. A loop
// is a name, an interval and a pass. A pass takes no input. It reads what there is to do, does it, and returns. So it may be interrupted
// anywhere, and the next pass does what is left. Hints from Postgres wake the passes. Because a hint may be lost, a pass also runs at least
// once per interval. A pass that fails or panics is retried after a pause that doubles each time. A pass that left work behind returns
// ErrMore and runs again at once.
//
// Work on single objects outside Postgres comes from a queue in Postgres, in which tenants take turns. Such a loop is a lane: its pass
// claims due work and ends when nothing is left. See lane.
//
// A server that has lost the lead without noticing must not write. Every pass is given the epoch of its leadership, and the store
// checks it in the same transaction as each decision that two leaders could take differently.
//
// # Adding a loop
//
// Put the pass into a file of its own, as a method of a type that holds exactly what the pass needs, and add one line to Loops.table.
package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"husk/ceph"
	"husk/egress"
	"husk/registry/importer"
	"husk/server/network"
	"husk/store"
)

// Config is what the loops need.
type Config struct {
	Store store.Control
	Ceph  *ceph.Cluster
	Log   *slog.Logger

	// Guests calls the guests of pods.
	Guests Guests
	// Egress says which addresses the server may connect to on behalf of tenants.
	Egress egress.Policy
	// SlowRegistry says when a registry sends too slowly. The zero value is the default.
	SlowRegistry importer.Slow
	// VolumesPool is where volumes and the tenants' clones of images are.
	VolumesPool string
	// Terms say how long a node counts as alive.
	Terms LeaseTerms
	// Network says where OVN is, and what pods may do.
	Network network.Config
	// SigningKeys rotates the keys that sign tokens.
	SigningKeys func(ctx context.Context, epoch int64) error
	// MovesForWaitingPod is how many running pods may move so that one waiting pod fits; 0 moves none.
	MovesForWaitingPod int
	// Metrics is where the loops register their metrics.
	Metrics prometheus.Registerer
}

// Loops runs the loops while this server leads.
type Loops struct {
	cfg     Config
	log     *slog.Logger
	store   store.Control
	metrics *metrics
	brake   brake // outlives a loop that panics
}

// New prepares the loops.
func New(cfg Config) *Loops {
	return &Loops{cfg: cfg, log: cfg.Log, store: cfg.Store, metrics: newMetrics(cfg.Metrics)}
}

// loop is background work that only the leading server does.
type loop struct {
	name  string
	every time.Duration // at the latest
	hints bool          // whether hints wake it earlier
	pass  Pass
}

// table lists the loops with the state of one leadership.
func (l *Loops) table() []loop {
	scheduling := newScheduling(l.store, l.log, l.metrics, l.cfg.MovesForWaitingPod)
	keys := &keys{store: l.store, ceph: l.cfg.Ceph, volumesPool: l.cfg.VolumesPool, log: l.log, metrics: l.metrics}
	volumes := &volumes{store: l.store, ceph: l.cfg.Ceph, log: l.log}
	snapshots := &snapshots{copies: l.store.Copies(), ceph: l.cfg.Ceph, guests: l.cfg.Guests, log: l.log}
	schedules := &schedules{copies: l.store.Copies(), log: l.log, taken: l.metrics.scheduled}
	images := &images{store: l.store, ceph: l.cfg.Ceph, egress: l.cfg.Egress, slow: l.cfg.SlowRegistry, log: l.log}
	queue := &queue{store: l.store, metrics: l.metrics}
	nodes := &nodes{store: l.store, log: l.log, metrics: l.metrics, brake: &l.brake, leases: newLeases(l.cfg.Terms)}
	fencing := &fencing{store: l.store, ceph: l.cfg.Ceph, log: l.log, metrics: l.metrics, braked: l.brake.on, renewed: map[store.ID]time.Time{}}
	clients := &clients{store: l.store, ceph: l.cfg.Ceph}
	moving := &moving{store: l.store, ceph: l.cfg.Ceph, log: l.log}
	drains := &drains{store: l.store, log: l.log, metrics: l.metrics}
	networks := &networks{l.store, network.New(l.cfg.Network, l.store.Topology(), l.log)}
	finished := &finished{store: l.store, log: l.log}
	usage := &usage{store: l.store, log: l.log}
	pruning := &pruning{store: l.store}
	partitions := &partitions{store: l.store, log: l.log, outside: l.metrics.outside}
	collection := &collection{store: l.store, ceph: l.cfg.Ceph, log: l.log, found: l.metrics.orphans, unknown: l.metrics.unknown}
	return []loop{
		{"schedule", 2 * time.Second, true, scheduling.pass},
		{"keys", 2 * time.Second, true, l.lane(lane{
			kind: store.PodKeyCreation, workers: keyWorkers, perTenant: keyWorkers - 1, timeout: cephTimeout, do: keys.create, failed: silently,
		})},
		{"key-removals", 5 * time.Second, true, l.lane(lane{
			kind: store.KeyRemoval, workers: keyWorkers, perTenant: keyWorkers - 1, timeout: cephTimeout, do: keys.remove, failed: silently,
		})},
		{"volumes", 5 * time.Second, true, l.lane(lane{
			kind: store.VolumeCreation, workers: volumeWorkers, perTenant: volumeWorkers - 1, timeout: cephTimeout, do: volumes.create, failed: volumes.failed,
		})},
		{"volume-formats", 5 * time.Second, true, l.lane(lane{
			kind: store.VolumeFormat, workers: volumeWorkers, perTenant: volumeWorkers - 1, timeout: cephTimeout, do: volumes.create, failed: volumes.failed,
		})},
		{"volume-clones", 5 * time.Second, true, l.lane(lane{
			kind: store.VolumeClone, workers: volumeWorkers, perTenant: volumeWorkers - 1, timeout: removalTimeout, do: volumes.clone, failed: volumes.failed,
		})},
		{"volume-flattening", 5 * time.Second, true, l.lane(lane{ // as a copy to a snapshot
			kind: store.VolumeFlatten, workers: volumeWorkers, perTenant: 1, timeout: snapshotTimeout, do: volumes.clone, failed: volumes.failed,
		})},
		{"encrypted-volumes", 5 * time.Second, true, l.lane(lane{
			kind: store.EncryptedCreation, workers: volumeWorkers, perTenant: volumeWorkers - 1, timeout: cephTimeout, do: volumes.create, failed: volumes.failed,
		})},
		{"encrypted-clones", 5 * time.Second, true, l.lane(lane{
			kind: store.EncryptedClone, workers: volumeWorkers, perTenant: volumeWorkers - 1, timeout: removalTimeout, do: volumes.clone, failed: volumes.failed,
		})},
		{"encrypted-flattening", 5 * time.Second, true, l.lane(lane{
			kind: store.EncryptedFlatten, workers: volumeWorkers, perTenant: 1, timeout: snapshotTimeout, do: volumes.clone, failed: volumes.failed,
		})},
		{"encrypted-growth", 5 * time.Second, true, l.lane(lane{
			kind: store.EncryptedGrowth, workers: volumeWorkers, perTenant: volumeWorkers - 1, timeout: cephTimeout, do: volumes.grow, failed: volumes.failed,
		})},
		{"encrypted-snapshots", 5 * time.Second, true, l.lane(lane{
			kind: store.EncryptedSnapshot, workers: volumeWorkers, perTenant: 1, timeout: snapshotTimeout, do: snapshots.create, failed: snapshots.failed,
		})},
		{"snapshots", 5 * time.Second, true, l.lane(lane{ // a copy may take hours, so each tenant has one at a time
			kind: store.SnapshotCopy, workers: volumeWorkers, perTenant: 1, timeout: snapshotTimeout, do: snapshots.create, failed: snapshots.failed,
		})},
		{"consistent-snapshots", 5 * time.Second, true, l.lane(lane{
			kind: store.SnapshotFreeze, workers: volumeWorkers, perTenant: 1, timeout: snapshotTimeout, do: snapshots.create, failed: snapshots.failed,
		})},
		{"snapshot-removals", 5 * time.Second, true, l.lane(lane{
			kind: store.SnapshotRemove, workers: volumeWorkers, perTenant: volumeWorkers - 1, timeout: removalTimeout, do: snapshots.remove, failed: snapshots.failed,
		})},
		{"volume-growth", 5 * time.Second, true, l.lane(lane{
			kind: store.VolumeGrowth, workers: volumeWorkers, perTenant: volumeWorkers - 1, timeout: cephTimeout, do: volumes.grow, failed: volumes.failed,
		})},
		{"volume-removals", 5 * time.Second, true, l.lane(lane{
			kind: store.VolumeRemoval, workers: volumeWorkers, perTenant: volumeWorkers - 1, timeout: removalTimeout, do: volumes.remove, failed: volumes.failed,
		})},
		{"images", 5 * time.Second, true, l.lane(lane{
			kind: store.ImageImport, workers: importWorkers, perTenant: importsPerTenant, timeout: importTimeout, do: images.importImage, failed: images.importFailed,
		})},
		{"image-removals", 5 * time.Second, true, l.lane(lane{
			kind: store.ImageRemoval, workers: volumeWorkers, perTenant: volumeWorkers - 1, timeout: cephTimeout, do: images.remove, failed: images.removalFailed,
		})},
		{"import-removals", 5 * time.Second, true, l.lane(lane{
			kind: store.ImportRemoval, workers: volumeWorkers, perTenant: volumeWorkers - 1, timeout: removalTimeout, do: images.removeImport, failed: silently,
		})},
		{"snapshot-schedules", 5 * time.Second, false, schedules.pass},
		{"uploads", 15 * time.Second, false, func(ctx context.Context, _ int64) error { return l.store.Copies().EndUploads(ctx) }},
		{"queue", 15 * time.Second, false, queue.pass},
		{"nodes", l.cfg.Terms.judgeEvery(), false, nodes.pass},
		{"fencing", 2 * time.Second, true, fencing.pass},
		{"clients", 2 * time.Second, true, clients.pass},
		{"moves", 2 * time.Second, true, moving.pass},
		{"drains", 2 * time.Second, true, drains.pass},
		{"networks", time.Second, false, networks.pass},
		{"signing-keys", time.Minute, false, l.cfg.SigningKeys},
		{"finished-pods", 5 * time.Second, false, finished.pass},
		{"usage", time.Minute, false, usage.pass},
		{"prune", time.Minute, false, pruning.pass},
		{"partitions", time.Hour, false, partitions.pass},
		{"collect", approvedEvery, false, collection.pass},
	}
}

// lane completes a lane and returns its pass.
func (l *Loops) lane(of lane) Pass {
	of.store, of.log, of.metrics = l.store, l.log, l.metrics
	return of.pass
}

// electionPause is how long a server waits before it takes part in the election again.
const electionPause = 500 * time.Millisecond

// Run takes part in the election, and runs the loops whenever this server leads, until ctx ends.
func (l *Loops) Run(ctx context.Context) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	holder := fmt.Sprintf("%s/%d", host, os.Getpid())
	for ctx.Err() == nil {
		err := l.store.Lead(ctx, holder, l.lead)
		if err != nil && !errors.Is(err, context.Canceled) {
			l.log.Warn("this server does not lead", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(electionPause):
		}
	}
}

// Pass is one pass of a loop under the epoch of a leadership.
type Pass func(ctx context.Context, epoch int64) error

// Passes returns the pass of each loop by name, with the state of a new leadership, so that tests can run single
// passes.
func (l *Loops) Passes() map[string]Pass {
	passes := map[string]Pass{}
	for _, one := range l.table() {
		passes[one.name] = one.pass
	}
	return passes
}

// RunOnly runs the loop of this name as a leader does until ctx ends. Tests use it.
func (l *Loops) RunOnly(ctx context.Context, epoch int64, name string) {
	for _, one := range l.table() {
		if one.name == name {
			l.run(ctx, epoch, one)
		}
	}
}

// lead runs the loops until the leadership ends.
func (l *Loops) lead(ctx context.Context, epoch int64) {
	l.log.Info("this server leads", "epoch", epoch)
	l.brake.reset()
	l.metrics.leading.Set(1)
	defer l.metrics.leading.Set(0)
	defer func() { // from now on, another server reports them
		for _, gauge := range []prometheus.Gauge{l.metrics.queueAge, l.metrics.unfenced, l.metrics.brake} {
			gauge.Set(0)
		}
		for _, gauge := range []*prometheus.GaugeVec{l.metrics.drainPods, l.metrics.queue, l.metrics.queueStuck, l.metrics.queueWait} {
			gauge.Reset()
		}
	}()
	var running sync.WaitGroup
	for _, one := range l.table() {
		running.Go(func() { l.run(ctx, epoch, one) })
	}
	running.Wait()
}

// fresh returns a loop as at the start of a leadership.
func (l *Loops) fresh(one loop) loop {
	for _, of := range l.table() {
		if of.name == one.name {
			return of
		}
	}
	return one
}

// Backoff of a loop whose pass failed.
const (
	loopRetryMin = 200 * time.Millisecond
	loopRetryMax = 10 * time.Second
)

// run runs the passes of one loop until ctx ends.
func (l *Loops) run(ctx context.Context, epoch int64, one loop) {
	hint, done := l.store.WatchWork()
	defer done()
	if !one.hints {
		hint = nil
	}
	wait := time.Duration(0)
	retry := loopRetryMin
	for {
		select {
		case <-ctx.Done():
			return
		case <-hint:
		case <-time.After(wait):
		}
		start := time.Now()
		err := safely(func() error { return one.pass(ctx, epoch) })
		if _, panicked := errors.AsType[*panicError](err); panicked {
			l.metrics.panics.WithLabelValues(one.name).Inc()
			one = l.fresh(one) // what it keeps in memory may be incomplete
		}
		outcome := "ok"
		wait = one.every
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrMore):
			wait = 0
		case err != nil:
			outcome = "error"
			l.log.Error("a pass failed; retrying", "loop", one.name, "error", err, "after", retry)
			wait = retry
			retry = min(2*retry, loopRetryMax)
		default:
			retry = loopRetryMin
		}
		l.metrics.loops.WithLabelValues(one.name, outcome).Observe(time.Since(start).Seconds())
	}
}

// ErrMore is how a pass says that it left work and wants to run again at once.
var ErrMore = errors.New("there is more to do")
