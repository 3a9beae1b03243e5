package store

import (
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
)

// PendingPod is a pod that waits for a place.
type PendingPod struct {
	TenantID, ID ID
	Size         husk.Resources
	CreatedAt    time.Time
	WaitsFor     string // a volume, an image or others of its gang; empty when the pod can be placed
	Attempts     int    // that found no place
	Again        bool   // it had a place before
	Labels       map[string]string
	Scheduling   husk.Scheduling
	GangOrdered  int // pods of its gang that wait or have a place
	GangPlaced   int // and those that have one
}

// PodKey identifies a pod together with its tenant.
type PodKey struct{ TenantID, ID ID }

// PendingPods returns up to limit pods that wait for a place, the highest priority and then the oldest first.
func (c Control) PendingPods(ctx context.Context, limit int) ([]PendingPod, error) {
	return inControl(ctx, c.core, func(q *db.Queries) ([]PendingPod, error) {
		rows, err := q.PendingPods(ctx, limit)
		return convert.All(rows, func(r db.PendingPodsRow) PendingPod {
			p := PendingPod{
				TenantID: r.TenantID, ID: r.ID, CreatedAt: r.CreatedAt, Attempts: r.Tries, Again: r.PlacedGeneration > 0, Labels: r.Labels,
				Size: husk.Resources{CPUMillis: r.CpuMillis, MemoryMiB: r.MemoryMib}, Scheduling: convert.Scheduling(r.Scheduling),
				GangOrdered: r.GangOrdered, GangPlaced: r.GangPlaced,
			}
			switch {
			case r.WaitsForVolume != "":
				p.WaitsFor = "volume " + r.WaitsForVolume + " is not made yet"
			case r.WaitsForImage != "":
				p.WaitsFor = "image " + r.WaitsForImage + " is not imported"
			case p.Scheduling.Gang != nil && p.GangOrdered < p.Scheduling.Gang.Size:
				p.WaitsFor = fmt.Sprintf("%d of the %d pods of gang %q are ordered", p.GangOrdered, p.Scheduling.Gang.Size, p.Scheduling.Gang.Name)
			}
			return p
		}), err
	})
}

// NodeRoom is what the scheduler needs to know of a node.
type NodeRoom struct {
	ID                  ID
	Name                string
	State               husk.NodeState
	Version             int64
	Capacity, Allocated husk.Resources // of cpu what may be placed, with the overcommit ratio of the pool
	VMMOverheadMiB      int
	husk.NodeSettings
}

// NodeRooms returns every node, by name.
func (c Control) NodeRooms(ctx context.Context) ([]NodeRoom, error) {
	return inControl(ctx, c.core, func(q *db.Queries) ([]NodeRoom, error) {
		rows, err := q.NodeRooms(ctx)
		return convert.All(rows, func(n db.NodeRoomsRow) NodeRoom {
			return NodeRoom{
				ID: n.ID, Name: n.Name, State: n.State, Version: n.Version, Capacity: husk.Resources{CPUMillis: n.SchedulableCpuMillis, MemoryMiB: n.MemoryMib},
				Allocated: husk.Resources{CPUMillis: n.AllocatedCpuMillis, MemoryMiB: n.AllocatedMemoryMib}, VMMOverheadMiB: n.VmmOverheadMib,
				NodeSettings: husk.NodeSettings{Pool: n.Pool, Labels: n.Labels, Taints: n.Taints, Cordoned: n.Cordoned},
			}
		}), err
	})
}

// PlacedPod is a pod that holds room on a node.
type PlacedPod struct {
	PodKey
	Node       ID
	Size       husk.Resources
	Overhead   int // MiB that the node is charged for it beside its size
	PlacedAt   time.Time
	Leaving    bool // is being stopped
	Labels     map[string]string
	Scheduling husk.Scheduling
}

// PlacedPods returns what holds room on some nodes.
func (c Control) PlacedPods(ctx context.Context, nodes []ID) ([]PlacedPod, error) {
	return inControl(ctx, c.core, func(q *db.Queries) ([]PlacedPod, error) {
		rows, err := q.PlacedPods(ctx, nodes)
		return convert.All(rows, func(r db.PlacedPodsRow) PlacedPod {
			p := PlacedPod{
				PodKey: PodKey{r.TenantID, r.ID}, Node: r.NodeID, Size: husk.Resources{CPUMillis: r.CpuMillis, MemoryMiB: r.MemoryMib},
				Overhead: r.VmmOverheadMib, Leaving: r.Phase == husk.PhaseStopping, Labels: r.Labels, Scheduling: convert.Scheduling(r.Scheduling),
			}
			if r.PlacedAt != nil {
				p.PlacedAt = *r.PlacedAt
			}
			return p
		}), err
	})
}

// NodesOfTenants returns the nodes on which a pod of these tenants holds room.
func (c Control) NodesOfTenants(ctx context.Context, tenants []ID) ([]ID, error) {
	return inControl(ctx, c.core, func(q *db.Queries) ([]ID, error) { return q.NodesOfTenants(ctx, tenants) })
}

// LeavingPods returns the pods that are being stopped and still hold room.
func (c Control) LeavingPods(ctx context.Context) ([]PodKey, error) {
	return inControl(ctx, c.core, func(q *db.Queries) ([]PodKey, error) {
		rows, err := q.LeavingPods(ctx)
		return convert.All(rows, func(r db.LeavingPodsRow) PodKey { return PodKey{r.TenantID, r.ID} }), err
	})
}

// Placement puts a pod on a node of a certain version.
type Placement struct {
	Pod         PodKey
	Node        ID
	NodeVersion int64
	Score       husk.PlacementScore
}

// CommitPlacements writes a batch in one statement and returns the pods that were placed. Those that are missing were deleted
// meanwhile, their node has changed, or another server leads; they are to be looked at again. A node is told of a pod when its key is made.
func (c Control) CommitPlacements(ctx context.Context, epoch int64, batch []Placement) ([]PodKey, error) {
	p := db.CommitPlacementsParams{Epoch: epoch}
	for _, pl := range batch {
		p.TenantIds = append(p.TenantIds, pl.Pod.TenantID)
		p.PodIds = append(p.PodIds, pl.Pod.ID)
		p.NodeIds = append(p.NodeIds, pl.Node)
		p.NodeVersions = append(p.NodeVersions, pl.NodeVersion)
		// Only what stands nowhere else: thousands of these go through one statement, whose time grows with their length.
		raw, err := json.Marshal(struct {
			Outcome husk.PlacementOutcome `json:"outcome"`
			Score   husk.PlacementScore   `json:"score"`
		}{husk.PlacementPlaced, pl.Score})
		if err != nil {
			return nil, err
		}
		p.Decisions = append(p.Decisions, raw)
	}
	return inControl(ctx, c.core, func(q *db.Queries) ([]PodKey, error) {
		rows, err := q.CommitPlacements(ctx, p)
		if err != nil || len(rows) == 0 {
			return nil, err
		}
		placed := make([]PodKey, 0, len(rows))
		events := db.InsertEventsParams{Kind: "pod", Reason: "Placed"}
		topics := map[string]bool{topicWork: true}
		for _, r := range rows {
			placed = append(placed, PodKey{r.TenantID, r.ID})
			events.TenantIds, events.ObjectIds = append(events.TenantIds, r.TenantID), append(events.ObjectIds, r.ID)
			topics[topicTenant(r.TenantID)] = true
		}
		if err := q.InsertEvents(ctx, events); err != nil {
			return nil, err
		}
		return placed, q.NotifyAll(ctx, slices.Collect(maps.Keys(topics)))
	})
}

// Refusal says why a pod is not placed.
type Refusal struct {
	Pod             PodKey
	Reason, Message string
	Waits           bool // for something of its own or for what is leaving, not for room that may appear
	Decision        husk.Placement
}

// Refuse records why pods are not placed, and puts off those that fitted nowhere: for a second, and twice as long each time, up to half a
// minute, unless Wake finds room before.
func (c Control) Refuse(ctx context.Context, refusals []Refusal) error {
	if len(refusals) == 0 {
		return nil
	}
	var p db.PutOffPodsParams
	topics := map[string]bool{}
	for _, r := range refusals {
		p.TenantIds, p.PodIds = append(p.TenantIds, r.Pod.TenantID), append(p.PodIds, r.Pod.ID)
		p.Reasons, p.Messages, p.Waits = append(p.Reasons, r.Reason), append(p.Messages, r.Message), append(p.Waits, r.Waits)
		raw, err := json.Marshal(r.Decision)
		if err != nil {
			return err
		}
		p.Decisions = append(p.Decisions, raw)
		topics[topicTenant(r.Pod.TenantID)] = true
	}
	return controlDo(ctx, c, func(q *db.Queries) error {
		if err := q.PutOffPods(ctx, p); err != nil {
			return err
		}
		return q.NotifyAll(ctx, slices.Collect(maps.Keys(topics)))
	})
}

// AnyPutOff tells whether a pod was put off and is not due yet.
func (c Control) AnyPutOff(ctx context.Context) (bool, error) {
	return inControl(ctx, c.core, func(q *db.Queries) (bool, error) { return q.AnyPutOff(ctx) })
}

// Wake makes up to limit pods due that were put off and would fit into this room, and returns how many.
func (c Control) Wake(ctx context.Context, room husk.Resources, limit int) (int64, error) {
	return inControl(ctx, c.core, func(q *db.Queries) (int64, error) {
		return q.WakePods(ctx, db.WakePodsParams{CpuMillis: room.CPUMillis, MemoryMib: room.MemoryMiB, Max: limit})
	})
}

// PodPhases counts the pods of all tenants by phase.
func (c Control) PodPhases(ctx context.Context) (map[husk.Phase]int, error) {
	return inControl(ctx, c.core, func(q *db.Queries) (map[husk.Phase]int, error) {
		rows, err := q.PodPhases(ctx)
		counts := map[husk.Phase]int{}
		for _, r := range rows {
			counts[r.Phase] = r.Pods
		}
		return counts, err
	})
}

// Eviction is a pod that is to leave a node.
type Eviction struct {
	Pod  PodKey
	Node ID
}

// Evict stops pods so that they are placed again elsewhere, and returns those that it stopped: the others were not up there any more, or
// another server leads.
func (c Control) Evict(ctx context.Context, epoch int64, pods []Eviction, reason, message string) ([]PodKey, error) {
	if len(pods) == 0 {
		return nil, nil
	}
	return inControl(ctx, c.core, func(q *db.Queries) ([]PodKey, error) {
		return evict(ctx, q, pods, db.EvictPodsParams{Epoch: epoch, Reason: reason, Message: message})
	})
}

func evict(ctx context.Context, q *db.Queries, pods []Eviction, p db.EvictPodsParams) ([]PodKey, error) {
	for _, e := range pods {
		p.TenantIds, p.PodIds, p.NodeIds = append(p.TenantIds, e.Pod.TenantID), append(p.PodIds, e.Pod.ID), append(p.NodeIds, e.Node)
	}
	rows, err := q.EvictPods(ctx, p)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	evicted := make([]PodKey, 0, len(rows))
	events := db.InsertEventsParams{Kind: "pod", Reason: p.Reason}
	topics := map[string]bool{}
	for _, r := range rows {
		evicted = append(evicted, PodKey{r.TenantID, r.ID})
		events.TenantIds, events.ObjectIds = append(events.TenantIds, r.TenantID), append(events.ObjectIds, r.ID)
		topics[topicTenant(r.TenantID)], topics[topicNode(r.NodeID)] = true, true
	}
	if err := q.InsertEvents(ctx, events); err != nil {
		return nil, err
	}
	return evicted, q.NotifyAll(ctx, slices.Collect(maps.Keys(topics)))
}

// Decision returns what the scheduler decided about a tenant's pod last. Codes: not_found.
func (t Tenant) Decision(ctx context.Context, podID ID) (husk.Placement, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Placement, error) { return decision(ctx, q, t.id, podID) })
}

// Decision returns what the scheduler last decided about any tenant's pod. Codes: not_found.
func (c Control) Decision(ctx context.Context, tenantID, podID ID) (husk.Placement, error) {
	return inControl(ctx, c.core, func(q *db.Queries) (husk.Placement, error) { return decision(ctx, q, tenantID, podID) })
}

func decision(ctx context.Context, q *db.Queries, tenantID, podID ID) (husk.Placement, error) {
	row, err := q.PodDecision(ctx, db.PodDecisionParams{TenantID: tenantID, ID: podID})
	if err != nil {
		return husk.Placement{}, orNotFound(err, "pod")
	}
	p := husk.Placement{Outcome: husk.PlacementUndecided}
	if row.Decision != nil {
		if err := json.Unmarshal(row.Decision, &p); err != nil {
			return husk.Placement{}, wrap(err, "decision about pod %s", podID)
		}
	}
	if row.Phase == husk.PhasePending {
		p.Attempts, p.NextTryAt = row.Tries, row.NextTryAt
		if p.Outcome == husk.PlacementPlaced { // and evicted since
			p = husk.Placement{Outcome: husk.PlacementUndecided}
		}
	} else {
		p.NodeName, p.DecidedAt = row.NodeName, row.PlacedAt
	}
	return p, nil
}

// Defragment keeps a proposal as the answer to a request. Unless it is a dry run it cordons the nodes and evicts their pods, all at once; a
// pod that is not there any more is left alone. Codes: idempotency_mismatch.
func (c Control) Defragment(ctx context.Context, idem Idempotency, d husk.Defragmentation) (husk.Defragmentation, error) {
	return inControl(ctx, c.core, func(q *db.Queries) (husk.Defragmentation, error) {
		if err := q.LockOperators(ctx); err != nil {
			return d, err
		}
		return creating(ctx, q, platform, idem, func() (ID, husk.Defragmentation, error) {
			id := uuid.New()
			if err := audit(ctx, q, platform, "defragmentation", id.String()); err != nil || d.DryRun {
				return id, d, err
			}
			var nodes []ID
			var pods []Eviction
			for _, n := range d.Freed {
				nodes = append(nodes, n.NodeID)
				for _, m := range n.Moves {
					pods = append(pods, Eviction{PodKey{m.TenantID, m.PodID}, n.NodeID})
				}
			}
			if err := q.CordonNodes(ctx, nodes); err != nil {
				return id, d, err
			}
			epoch, err := q.Epoch(ctx)
			if err != nil {
				return id, d, err
			}
			_, err = evict(ctx, q, pods, db.EvictPodsParams{Epoch: epoch, Reason: "Defragmented", Message: "its node is being emptied; it starts on another"})
			return id, d, err
		})
	})
}
