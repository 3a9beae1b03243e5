// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/hints"
	"husk/store/moves"
	"husk/store/pgerr"
	"husk/store/repeats"
)

// PendingPod is a pod that waits to be placed.
type PendingPod struct {
	TenantID, ID ID
	Size         husk.Resources
	ScratchGiB   int
	CreatedAt    time.Time
	WaitsFor     string   // a volume, an image or other pods of its gang; empty if the pod can be placed
	Attempts     int      // failed attempts to place it
	Again        bool     // it was placed before
	Needs        []string // capabilities that the agent of its node has to have
	Labels       map[string]string
	Scheduling   husk.Scheduling
	GangCreated  int // pods of its gang that are pending or placed
	GangPlaced   int // pods of its gang that are placed
}

// PodKey identifies a pod and its tenant.
type PodKey struct{ TenantID, ID ID }

// PendingPods returns up to limit pods that wait to be placed, the highest priority first and the oldest first among equals.
func (c Control) PendingPods(ctx context.Context, limit int) ([]PendingPod, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]PendingPod, error) {
		rows, err := q.PendingPods(ctx, limit)
		return convert.All(rows, func(r db.PendingPodsRow) PendingPod {
			p := PendingPod{
				TenantID: r.TenantID, ID: r.ID, CreatedAt: r.CreatedAt, Attempts: r.Tries, Again: r.PlacedGeneration > 0, Labels: r.Labels,
				Size: husk.Resources{CPUMillis: r.CpuMillis, MemoryMiB: r.MemoryMib}, ScratchGiB: r.ScratchGib, Scheduling: convert.Scheduling(r.Scheduling),
				GangCreated: r.GangCreated, GangPlaced: r.GangPlaced,
			}
			if p.Needs = r.Needs; r.Privileged && !slices.Contains(p.Needs, husk.CapabilityPrivileged) { // created by an earlier version
				p.Needs = append(p.Needs, husk.CapabilityPrivileged)
			}
			switch {
			case r.WaitsForVolume != "":
				p.WaitsFor = "volume " + r.WaitsForVolume + " is not available yet"
			case r.WaitsForImage != "":
				p.WaitsFor = "image " + r.WaitsForImage + " is not imported"
			case p.Scheduling.Gang != nil && p.GangCreated < p.Scheduling.Gang.Size:
				p.WaitsFor = fmt.Sprintf("%d of the %d pods of gang %q have been created", p.GangCreated, p.Scheduling.Gang.Size, p.Scheduling.Gang.Name)
			}
			return p
		}), err
	})
}

// NodeCapacity is what the scheduler needs to know about a node.
type NodeCapacity struct {
	ID                  ID
	Name                string
	State               husk.NodeState
	Version             int64
	Capacity, Allocated husk.Resources // cpu is schedulable cpu, with the overcommit ratio of the pool
	VMMOverheadMiB      int
	ScratchGiB          int // for all pods; very much if its agent makes no scratch disks
	Capabilities        []string
	husk.NodeSettings
}

// NodeCapacities returns every node, sorted by name.
func (c Control) NodeCapacities(ctx context.Context) ([]NodeCapacity, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]NodeCapacity, error) {
		rows, err := q.NodeCapacities(ctx)
		return convert.All(rows, func(n db.NodeCapacitiesRow) NodeCapacity {
			return NodeCapacity{
				ID: n.ID, Name: n.Name, State: n.State, Version: n.Version, Capacity: husk.Resources{CPUMillis: n.SchedulableCpuMillis, MemoryMiB: n.MemoryMib},
				Allocated: husk.Resources{CPUMillis: n.AllocatedCpuMillis, MemoryMiB: n.AllocatedMemoryMib}, VMMOverheadMiB: n.VmmOverheadMib, ScratchGiB: n.ScratchGib, Capabilities: n.Capabilities,
				NodeSettings: husk.NodeSettings{Pool: n.Pool, Labels: n.Labels, Taints: n.Taints, Cordoned: n.Cordoned},
			}
		}), err
	})
}

// PlacedPod is a pod that is allocated on a node.
type PlacedPod struct {
	PodKey
	Node       ID
	Size       husk.Resources
	Overhead   int // MiB that are allocated for it in addition to its size
	ScratchGiB int
	PlacedAt   time.Time
	Leaving    bool // it is being stopped
	Labels     map[string]string
	Scheduling husk.Scheduling
}

// PlacedPods returns the pods that are allocated on these nodes. What a pod has on a second node while it moves is there under another ID.
func (c Control) PlacedPods(ctx context.Context, nodes []ID) ([]PlacedPod, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]PlacedPod, error) {
		rows, err := q.PlacedPods(ctx, nodes)
		return convert.All(rows, func(r db.PlacedPodsRow) PlacedPod {
			p := PlacedPod{
				PodKey: PodKey{r.TenantID, r.ID}, Node: r.NodeID, Size: husk.Resources{CPUMillis: r.CpuMillis, MemoryMiB: r.MemoryMib},
				Overhead: r.VmmOverheadMib, ScratchGiB: r.ScratchGib, Leaving: r.Phase == husk.PhaseStopping, Labels: r.Labels, Scheduling: convert.Scheduling(r.Scheduling),
			}
			moves.Other(r.Role, r.Placement, &p.ID, &p.Leaving, &p.Labels, &p.Scheduling)
			if r.PlacedAt != nil {
				p.PlacedAt = *r.PlacedAt
			}
			return p
		}), err
	})
}

// NodesOfTenants returns the nodes on which pods of these tenants are allocated.
func (c Control) NodesOfTenants(ctx context.Context, tenants []ID) ([]ID, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]ID, error) { return q.NodesOfTenants(ctx, tenants) })
}

// LeavingPods returns the pods that are being stopped and are still allocated.
func (c Control) LeavingPods(ctx context.Context) ([]PodKey, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]PodKey, error) {
		rows, err := q.LeavingPods(ctx)
		return convert.All(rows, func(r db.LeavingPodsRow) PodKey { return PodKey{r.TenantID, r.ID} }), err
	})
}

// Placement places a pod on a node that has this version.
type Placement struct {
	Pod         PodKey
	Node        ID
	NodeVersion int64
	Score       husk.PlacementScore
}

// CommitPlacements writes a batch in one statement and returns the pods that were placed. It does not place a pod that was deleted
// meanwhile, or whose node has changed, and places none if another server leads; the next pass decides about those pods again. A pod's
// node is notified when the pod's key is created.
func (c Control) CommitPlacements(ctx context.Context, epoch int64, batch []Placement) ([]PodKey, error) {
	p := db.CommitPlacementsParams{Epoch: epoch}
	for _, pl := range batch {
		p.TenantIds = append(p.TenantIds, pl.Pod.TenantID)
		p.PodIds = append(p.PodIds, pl.Pod.ID)
		p.NodeIds = append(p.NodeIds, pl.Node)
		p.NodeVersions = append(p.NodeVersions, pl.NodeVersion)
		// Only what is stored nowhere else, because the statement carries thousands of decisions, and its time grows with their length.
		raw, err := json.Marshal(struct {
			Outcome husk.PlacementOutcome `json:"outcome"`
			Score   husk.PlacementScore   `json:"score"`
		}{husk.PlacementPlaced, pl.Score})
		if err != nil {
			return nil, err
		}
		p.Decisions = append(p.Decisions, raw)
	}
	return inControl(ctx, c, func(q *db.Queries) ([]PodKey, error) {
		rows, err := q.CommitPlacements(ctx, p)
		if err != nil || len(rows) == 0 {
			return nil, err
		}
		placed := make([]PodKey, 0, len(rows))
		events := db.InsertEventsParams{Kind: "pod", Reason: "Placed"}
		topics := map[string]bool{hints.Work: true}
		for _, r := range rows {
			placed = append(placed, PodKey{r.TenantID, r.ID})
			events.TenantIds, events.ObjectIds = append(events.TenantIds, r.TenantID), append(events.ObjectIds, r.ID)
			topics[hints.Tenant(r.TenantID)] = true
		}
		if err := q.InsertEvents(ctx, events); err != nil {
			return nil, err
		}
		return placed, hint(ctx, q, slices.Collect(maps.Keys(topics))...)
	})
}

// Refusal says why a pod is not placed.
type Refusal struct {
	Pod             PodKey
	Reason, Message string
	Waits           bool // for one of its own objects or for pods that are being stopped, not for free capacity
	Decision        husk.Placement
}

// Refuse records why pods are not placed. It defers pods that do not fit: for a second, then twice as long each time, up to 30 seconds.
// Wake makes them due earlier when capacity is freed.
func (c Control) Refuse(ctx context.Context, refusals []Refusal) error {
	if len(refusals) == 0 {
		return nil
	}
	var p db.DeferPodsParams
	topics := map[string]bool{}
	for _, r := range refusals {
		p.TenantIds, p.PodIds = append(p.TenantIds, r.Pod.TenantID), append(p.PodIds, r.Pod.ID)
		p.Reasons, p.Messages, p.Waits = append(p.Reasons, r.Reason), append(p.Messages, r.Message), append(p.Waits, r.Waits)
		raw, err := json.Marshal(r.Decision)
		if err != nil {
			return err
		}
		p.Decisions = append(p.Decisions, raw)
		topics[hints.Tenant(r.Pod.TenantID)] = true
	}
	return controlDo(ctx, c, func(q *db.Queries) error {
		if err := q.DeferPods(ctx, p); err != nil {
			return err
		}
		return hint(ctx, q, slices.Collect(maps.Keys(topics))...)
	})
}

// AnyDeferred reports whether there is a deferred pod that is not due yet.
func (c Control) AnyDeferred(ctx context.Context) (bool, error) {
	return inControl(ctx, c, func(q *db.Queries) (bool, error) { return q.AnyDeferred(ctx) })
}

// Wake makes deferred pods that fit into this free capacity due, at most limit of them, and returns how many.
func (c Control) Wake(ctx context.Context, free husk.Resources, limit int) (int64, error) {
	return inControl(ctx, c, func(q *db.Queries) (int64, error) {
		return q.WakePods(ctx, db.WakePodsParams{CpuMillis: free.CPUMillis, MemoryMib: free.MemoryMiB, Max: limit})
	})
}

// PodPhases counts the pods of all tenants by phase, and those whose node does not respond.
func (c Control) PodPhases(ctx context.Context) (phases map[husk.Phase]int, unknown int, _ error) {
	rows, err := inControl(ctx, c, func(q *db.Queries) ([]db.PodPhasesRow, error) { return q.PodPhases(ctx) })
	phases = map[husk.Phase]int{}
	for _, r := range rows {
		phases[r.Phase] = r.Pods
		unknown += r.Unknown
	}
	return phases, unknown, err
}

// Eviction is a pod to evict from a node.
type Eviction struct {
	Pod  PodKey
	Node ID
}

// Evict stops pods so that they are placed again, and returns the pods that it stopped. It skips pods that are no longer on the node, and
// stops none if another server leads.
func (c Control) Evict(ctx context.Context, epoch int64, pods []Eviction, reason, message string) ([]PodKey, error) {
	if len(pods) == 0 {
		return nil, nil
	}
	return inControl(ctx, c, func(q *db.Queries) ([]PodKey, error) {
		return evict(ctx, q, pods, db.EvictPodsParams{Epoch: epoch, Reason: reason, Message: message})
	})
}

func evict(ctx context.Context, q *db.Queries, pods []Eviction, p db.EvictPodsParams) ([]PodKey, error) {
	for _, e := range pods {
		p.TenantIds, p.PodIds, p.NodeIds = append(p.TenantIds, e.Pod.TenantID), append(p.PodIds, e.Pod.ID), append(p.NodeIds, e.Node)
	}
	rows, err := q.EvictPods(ctx, p)
	if err != nil {
		return nil, err
	}
	return stopped(ctx, q, rows, p.Reason)
}

// finishedBatch is how many pods that have ended one transaction deletes.
const finishedBatch = 200

// DeleteFinishedPods requests the deletion of pods whose time after their end has passed, and returns some of them. It does nothing for a leader
// with an old epoch.
func (c Control) DeleteFinishedPods(ctx context.Context, epoch int64) ([]PodKey, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]PodKey, error) {
		rows, err := q.DeleteFinishedPods(ctx, db.DeleteFinishedPodsParams{Epoch: epoch, Max: finishedBatch})
		if err != nil {
			return nil, err
		}
		return stopped(ctx, q, convert.All(rows, func(r db.DeleteFinishedPodsRow) db.EvictPodsRow { return db.EvictPodsRow(r) }), "Expired")
	})
}

// stopped records that pods are being stopped, and notifies their tenants and nodes.
func stopped(ctx context.Context, q *db.Queries, rows []db.EvictPodsRow, reason string) ([]PodKey, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	evicted := make([]PodKey, 0, len(rows))
	events := db.InsertEventsParams{Kind: "pod", Reason: reason}
	topics := map[string]bool{}
	for _, r := range rows {
		evicted = append(evicted, PodKey{r.TenantID, r.ID})
		events.TenantIds, events.ObjectIds = append(events.TenantIds, r.TenantID), append(events.ObjectIds, r.ID)
		topics[hints.Tenant(r.TenantID)], topics[hints.Node(r.NodeID)] = true, true
	}
	if err := q.InsertEvents(ctx, events); err != nil {
		return nil, err
	}
	return evicted, hint(ctx, q, slices.Collect(maps.Keys(topics))...)
}

// Decision returns the scheduler's latest decision about a pod of the tenant. Codes: not_found.
func (t Tenant) Decision(ctx context.Context, podID ID) (husk.Placement, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Placement, error) { return decision(ctx, q, t.id, podID) })
}

// Decision returns the scheduler's latest decision about a pod of any tenant. Codes: not_found.
func (c Control) Decision(ctx context.Context, tenantID, podID ID) (husk.Placement, error) {
	return inControl(ctx, c, func(q *db.Queries) (husk.Placement, error) { return decision(ctx, q, tenantID, podID) })
}

func decision(ctx context.Context, q *db.Queries, tenantID, podID ID) (husk.Placement, error) {
	row, err := q.PodDecision(ctx, db.PodDecisionParams{TenantID: tenantID, ID: podID})
	if err != nil {
		return husk.Placement{}, pgerr.NotFound(err, "pod")
	}
	p, err := convert.Decision(row)
	return p, wrap(err, "decision about pod %s", podID)
}

// Defragment stores a proposal as the response to a request. Unless it is a dry run, the nodes are drained from then on. Codes:
// idempotency_mismatch.
func (c Control) Defragment(ctx context.Context, idem Idempotency, d husk.Defragmentation) (husk.Defragmentation, error) {
	return inControl(ctx, c, func(q *db.Queries) (husk.Defragmentation, error) {
		if err := q.LockOperators(ctx); err != nil {
			return d, err
		}
		return repeats.OnceSealed(ctx, q, &c.keys, platform, idem, func() (ID, husk.Defragmentation, error) {
			id := uuid.New()
			if err := audit(ctx, q, platform, "defragmentation", id.String()); err != nil || d.DryRun {
				return id, d, err
			}
			nodes := convert.All(d.Freed, func(n husk.FreedNode) ID { return n.NodeID })
			slices.SortFunc(nodes, func(a, b ID) int { return bytes.Compare(a[:], b[:]) }) // the order in which nodes are locked
			if err := moves.DrainNodes(ctx, q, nodes); err != nil {
				return id, d, err
			}
			return id, d, hint(ctx, q, hints.Work)
		})
	})
}
