// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"husk"
	"husk/store"
)

// Transactions that change pods and nodes run at the same time. Because all lock the pods first, in
// the order of their ids, and then the nodes, none waits for another that waits for it.
func TestNoTwoTransactionsWaitForEachOther(t *testing.T) {
	t.Parallel()
	f := open(t)
	tenant := f.tenantWith(husk.Quota{ScratchGiB: 1e6, Pods: 1000, CPUMillis: 1e6, MemoryMiB: 1e6, Addresses: 1000, Images: 10})
	image := f.image(tenant)
	nodes := []husk.Node{f.node(50), f.node(50), f.node(50), f.node(50)}
	pool, err := f.PutPool(t.Context(), "all", 2)
	must(t, pool, err)
	for _, n := range nodes {
		_, err := f.UpdateNode(t.Context(), n.ID, func(s husk.NodeSettings) husk.NodeSettings { s.Pool = "all"; return s })
		must(t, n, err)
	}
	var pods []husk.Pod
	for range 40 {
		pods = append(pods, f.createPod(tenant, specOf(image)))
	}
	some := func() []husk.Pod {
		mine := slices.Clone(pods)
		rand.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
		return mine[:20]
	}
	node := func() husk.Node { return nodes[rand.N(len(nodes))] }
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // Postgres notices a deadlock after one second
	defer cancel()
	place := func() error {
		capacities, err := f.NodeCapacities(ctx)
		if err != nil {
			return err
		}
		var batch []store.Placement
		keys := map[store.PlacementKey]string{}
		for _, p := range some() {
			r := capacities[rand.N(len(capacities))]
			batch = append(batch, store.Placement{Pod: keyOf(p), Node: r.ID, NodeVersion: r.Version})
		}
		if _, err := f.CommitPlacements(ctx, f.epoch(), batch); err != nil {
			return err
		}
		for _, b := range batch {
			_, placement, err := f.PodToKey(ctx, store.Work{TenantID: b.Pod.TenantID, ObjectID: b.Pod.ID})
			if err != nil {
				return err
			}
			keys[store.PlacementKey{PodKey: b.Pod, Number: placement}] = "key"
		}
		return f.SetPodKeys(ctx, keys)
	}
	evictions := func() (all []store.Eviction, pods []husk.FreedMove) {
		for _, p := range some() {
			n := node().ID
			all, pods = append(all, store.Eviction{Pod: keyOf(p), Node: n}), append(pods, husk.FreedMove{TenantID: p.TenantID, PodID: p.ID})
		}
		return all, pods
	}
	transactions := map[string]func() error{
		"place":   place,
		"place 2": place,
		"evict": func() error {
			all, _ := evictions()
			_, err := f.Evict(ctx, f.epoch(), all, "Preempted", "")
			return err
		},
		"defragment": func() error {
			_, moves := evictions()
			d := husk.Defragmentation{Freed: []husk.FreedNode{{NodeID: nodes[1].ID, Moves: moves[:10]}, {NodeID: nodes[0].ID, Moves: moves[10:]}}}
			_, err := f.Defragment(ctx, once(), d)
			for _, n := range nodes {
				_, e := f.UpdateNode(ctx, n.ID, func(s husk.NodeSettings) husk.NodeSettings { s.Cordoned = false; return s })
				err = errors.Join(err, e)
			}
			return err
		},
		"lose and return": func() error {
			n := node()
			now, err := f.Node(ctx, n.ID)
			if err == nil {
				_, err = f.SetNodeState(ctx, f.epoch(), now, husk.NodeLost)
			}
			_, e1 := f.MarkPodsUnknown(ctx, f.epoch(), 10)
			_, _, e2 := f.Heartbeat(ctx, store.Beat{Node: n})
			return errors.Join(err, e1, e2)
		},
		"report": func() error {
			var reports []husk.PodReport
			events := []husk.PhaseEvent{husk.EventStarting, husk.EventRunning, husk.EventStopping, husk.EventGone}
			for _, p := range some() {
				reports = append(reports, husk.PodReport{PodID: p.ID, Generation: 1 << 40, Event: events[rand.N(len(events))]})
			}
			return f.Report(ctx, node().ID, reports)
		},
		"overcommit": func() error {
			_, err := f.PutPool(ctx, "all", 2+rand.Float64())
			return err
		},
		"refuse": func() error {
			var refusals []store.Refusal
			for _, p := range some() {
				refusals = append(refusals, store.Refusal{Pod: keyOf(p), Reason: "NotEnoughCPU"})
			}
			err := f.Refuse(ctx, refusals)
			_, e := f.Wake(ctx, husk.Resources{CPUMillis: 1e6, MemoryMiB: 1e6}, 20)
			return errors.Join(err, e)
		},
	}
	var running sync.WaitGroup
	for name, transaction := range transactions {
		running.Go(func() {
			for ctx.Err() == nil {
				if err := transaction(); err != nil && ctx.Err() == nil {
					t.Errorf("%s: %v", name, err)
					return
				}
			}
		})
	}
	running.Wait()
	if n := queryOne[int64](f, store.RoleControl, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"); n > 0 {
		t.Errorf("%d times, two transactions waited for each other", n)
	}
}
