package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"husk"
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

// schedulingOf reads what the API has checked and the store has written.
func schedulingOf(raw []byte) (sched husk.Scheduling) {
	if raw != nil {
		if err := json.Unmarshal(raw, &sched); err != nil {
			panic(fmt.Sprintf("a pod's scheduling is no JSON of ours: %v", err))
		}
	}
	return sched
}

// PendingPods returns up to limit pods that wait for a place, the highest priority and then the oldest first.
func (s *Store) PendingPods(ctx context.Context, limit int) ([]PendingPod, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]PendingPod, error) {
		rows, err := q.PendingPods(ctx, limit)
		return convertAll(rows, func(r db.PendingPodsRow) PendingPod {
			p := PendingPod{
				TenantID: r.TenantID, ID: r.ID, CreatedAt: r.CreatedAt, Attempts: r.Tries, Again: r.PlacedGeneration > 0, Labels: r.Labels,
				Size: husk.Resources{CPUMillis: r.CpuMillis, MemoryMiB: r.MemoryMib}, Scheduling: schedulingOf(r.Scheduling),
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
func (s *Store) NodeRooms(ctx context.Context) ([]NodeRoom, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]NodeRoom, error) {
		rows, err := q.NodeRooms(ctx)
		return convertAll(rows, func(n db.NodeRoomsRow) NodeRoom {
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
func (s *Store) PlacedPods(ctx context.Context, nodes []ID) ([]PlacedPod, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]PlacedPod, error) {
		rows, err := q.PlacedPods(ctx, nodes)
		return convertAll(rows, func(r db.PlacedPodsRow) PlacedPod {
			p := PlacedPod{
				PodKey: PodKey{r.TenantID, r.ID}, Node: r.NodeID, Size: husk.Resources{CPUMillis: r.CpuMillis, MemoryMiB: r.MemoryMib},
				Overhead: r.VmmOverheadMib, Leaving: r.Phase == husk.PhaseStopping, Labels: r.Labels, Scheduling: schedulingOf(r.Scheduling),
			}
			if r.PlacedAt != nil {
				p.PlacedAt = *r.PlacedAt
			}
			return p
		}), err
	})
}

// NodesOfTenants returns the nodes on which a pod of these tenants holds room.
func (s *Store) NodesOfTenants(ctx context.Context, tenants []ID) ([]ID, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]ID, error) { return q.NodesOfTenants(ctx, tenants) })
}

// LeavingPods returns the pods that are being stopped and still hold room.
func (s *Store) LeavingPods(ctx context.Context) ([]PodKey, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]PodKey, error) {
		rows, err := q.LeavingPods(ctx)
		return convertAll(rows, func(r db.LeavingPodsRow) PodKey { return PodKey{r.TenantID, r.ID} }), err
	})
}

// Disk is one RBD image that a pod attaches.
type Disk struct {
	Name, RBDID string
	Writable    bool
}

// PodDisks returns the disks of a pod.
func (s *Store) PodDisks(ctx context.Context, pod PodKey) ([]Disk, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]Disk, error) {
		rows, err := q.PodDisks(ctx, db.PodDisksParams{TenantID: pod.TenantID, PodID: pod.ID})
		return convertAll(rows, func(r db.PodDisksRow) Disk { return Disk{r.Name, r.RbdID, r.Writable} }), err
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
func (s *Store) CommitPlacements(ctx context.Context, epoch int64, batch []Placement) ([]PodKey, error) {
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
	return inControl(ctx, s, func(q *db.Queries) ([]PodKey, error) {
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

// KeylessPod is a placed pod whose key in Ceph is not made yet.
type KeylessPod struct {
	PodKey
	HadOne bool // for an earlier placement
}

// PodsWithoutKey returns up to limit placed pods whose key in Ceph is not made yet, those that were placed first first.
func (s *Store) PodsWithoutKey(ctx context.Context, limit int) ([]KeylessPod, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]KeylessPod, error) {
		rows, err := q.PodsWithoutKey(ctx, limit)
		return convertAll(rows, func(r db.PodsWithoutKeyRow) KeylessPod { return KeylessPod{PodKey{r.TenantID, r.ID}, r.HadOne} }), err
	})
}

// SetPodKeys keeps the keys of placed pods, sealed, and tells their nodes. A pod that has a key by now, or holds its room no more, is left
// as it is.
func (s *Store) SetPodKeys(ctx context.Context, keys map[PodKey]string) error {
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) {
		var p db.SetPodKeysParams
		for pod, key := range keys {
			sealed, err := s.sealFor(ctx, q, pod.TenantID, []byte(key), sealedKeyOwner(pod.ID))
			if err != nil {
				return struct{}{}, err
			}
			p.TenantIds, p.PodIds, p.CephKeys = append(p.TenantIds, pod.TenantID), append(p.PodIds, pod.ID), append(p.CephKeys, sealed)
		}
		nodes, err := q.SetPodKeys(ctx, p)
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, q.NotifyAll(ctx, convertAll(nodes, topicNode))
	})
	return err
}

func sealedKeyOwner(pod ID) string { return "ceph key of pod " + pod.String() }

// Refusal says why a pod is not placed.
type Refusal struct {
	Pod             PodKey
	Reason, Message string
	Waits           bool // for something of its own or for what is leaving, not for room that may appear
	Decision        husk.Placement
}

// Refuse records why pods are not placed, and puts off those that fitted nowhere: for a second, and twice as long each time, up to half a
// minute, unless Wake finds room before.
func (s *Store) Refuse(ctx context.Context, refusals []Refusal) error {
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
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) {
		if err := q.PutOffPods(ctx, p); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, q.NotifyAll(ctx, slices.Collect(maps.Keys(topics)))
	})
	return err
}

// Eviction is a pod that is to leave a node.
type Eviction struct {
	Pod  PodKey
	Node ID
}

// Evict stops pods so that they are placed again elsewhere, and returns those that it stopped: the others were not up there any more, or
// another server leads.
func (s *Store) Evict(ctx context.Context, epoch int64, pods []Eviction, reason, message string) ([]PodKey, error) {
	if len(pods) == 0 {
		return nil, nil
	}
	return inControl(ctx, s, func(q *db.Queries) ([]PodKey, error) {
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
func (s *Store) Decision(ctx context.Context, tenantID, podID ID) (husk.Placement, error) {
	return inTenant(ctx, s, tenantID, func(q *db.Queries) (husk.Placement, error) { return decision(ctx, q, tenantID, podID) })
}

// DecisionForOperator is Decision for a caller of no tenant. Codes: not_found.
func (s *Store) DecisionForOperator(ctx context.Context, tenantID, podID ID) (husk.Placement, error) {
	return inControl(ctx, s, func(q *db.Queries) (husk.Placement, error) { return decision(ctx, q, tenantID, podID) })
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

// AnyPutOff tells whether a pod was put off and is not due yet.
func (s *Store) AnyPutOff(ctx context.Context) (bool, error) {
	return inControl(ctx, s, func(q *db.Queries) (bool, error) { return q.AnyPutOff(ctx) })
}

// Wake makes up to limit pods due that were put off and would fit into this room, and returns how many.
func (s *Store) Wake(ctx context.Context, room husk.Resources, limit int) (int64, error) {
	return inControl(ctx, s, func(q *db.Queries) (int64, error) {
		return q.WakePods(ctx, db.WakePodsParams{CpuMillis: room.CPUMillis, MemoryMib: room.MemoryMiB, Max: limit})
	})
}

// DesiredPod is a pod as its node needs to know it.
type DesiredPod struct {
	Pod     husk.Pod
	Network DesiredNetwork
	CephKey string
	Images  map[string]DesiredImage // by container
}

// DesiredNetwork is where a pod's interface belongs.
type DesiredNetwork struct {
	ID   ID
	CIDR string
	MAC  string
}

// DesiredImage is what a container starts from.
type DesiredImage struct {
	ID     ID
	Config husk.ImageConfig
}

// Desired returns the whole desired state of a node with its revision. Codes: not_found.
func (s *Store) Desired(ctx context.Context, node ID) (int64, []DesiredPod, error) {
	type desired struct {
		revision int64
		pods     []DesiredPod
	}
	d, err := inControl(ctx, s, func(q *db.Queries) (desired, error) {
		// The revision is read first: a change that slips in between is then delivered again, never missed.
		revision, err := q.DesiredRevision(ctx, node)
		if err != nil {
			return desired{}, orNotFound(err, "node")
		}
		rows, err := q.DesiredPods(ctx, node)
		if err != nil {
			return desired{}, err
		}
		images, err := q.ImagesOfNode(ctx, node)
		if err != nil {
			return desired{}, err
		}
		byPod := map[ID]map[string]DesiredImage{}
		for _, i := range images {
			if byPod[i.PodID] == nil {
				byPod[i.PodID] = map[string]DesiredImage{}
			}
			byPod[i.PodID][i.Container] = DesiredImage{i.ID, i.Config}
		}
		d := desired{revision: revision, pods: []DesiredPod{}}
		for _, r := range rows {
			var key []byte
			if r.Pod.CephKey != nil { // a pod that is to go may never have had one
				if key, err = s.openFor(ctx, q, r.Pod.TenantID, r.Pod.CephKey, sealedKeyOwner(r.Pod.ID)); err != nil {
					return desired{}, wrap(err, "ceph key of pod %s", r.Pod.ID)
				}
			}
			d.pods = append(d.pods, DesiredPod{
				Pod: podOf(r.Pod), CephKey: string(key), Images: byPod[r.Pod.ID],
				Network: DesiredNetwork{ID: r.Pod.NetworkID, CIDR: r.Cidr.String(), MAC: r.Pod.Mac.String()},
			})
		}
		return d, nil
	})
	return d.revision, d.pods, err
}

// DesiredRevision returns the revision alone. Codes: not_found.
func (s *Store) DesiredRevision(ctx context.Context, node ID) (int64, error) {
	return inControl(ctx, s, func(q *db.Queries) (int64, error) {
		revision, err := q.DesiredRevision(ctx, node)
		return revision, orNotFound(err, "node")
	})
}

// KeyedPods returns the ids of the pods that may have a key in Ceph. Other keys are orphans.
func (s *Store) KeyedPods(ctx context.Context) (map[string]bool, error) {
	return inControl(ctx, s, func(q *db.Queries) (map[string]bool, error) {
		ids, err := q.KeyedPodIDs(ctx)
		pods := map[string]bool{}
		for _, id := range ids {
			pods[id.String()] = true
		}
		return pods, err
	})
}

// Report applies what an agent says about pods of its own node. Reports about other pods, and events that do not apply in the pod's
// phase, are dropped: they are late.
func (s *Store) Report(ctx context.Context, node ID, reports []husk.PodReport) error {
	var failures []error
	for _, r := range reports {
		r = storableReport(r)
		_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) { return struct{}{}, applyReport(ctx, q, node, r) })
		failures = append(failures, wrap(err, "report of pod %s", r.PodID))
		if ctx.Err() != nil || husk.CodeOf(err) == husk.CodeUnavailable {
			break // the others would wait in vain as long
		}
	}
	return errors.Join(failures...)
}

// maxReportedText bounds a word of a report, in bytes. It is the contract's limit of a pod's message.
const maxReportedText = 4096

// storableReport drops what Postgres keeps in no text, and cuts what is too long. Some of these words come from a guest, who must not be able to hold up what
// the node says of its other pods.
func storableReport(r husk.PodReport) husk.PodReport {
	clean := func(s string) string {
		return strings.ReplaceAll(strings.ToValidUTF8(s[:min(len(s), maxReportedText)], "\uFFFD"), "\x00", "")
	}
	r.Reason, r.Message = clean(r.Reason), clean(r.Message)
	r.Containers = slices.Clone(r.Containers)
	for i := range r.Containers {
		c := &r.Containers[i]
		c.Name, c.State, c.Reason, c.Message = clean(c.Name), clean(c.State), clean(c.Reason), clean(c.Message)
	}
	return r
}

func applyReport(ctx context.Context, q *db.Queries, node ID, r husk.PodReport) error {
	row, err := q.LockNodePod(ctx, db.LockNodePodParams{NodeID: node, ID: r.PodID})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	next, ok := row.Phase.Next(r.Event)
	if !ok || r.Generation < row.ObservedGeneration || r.Generation < row.PlacedGeneration {
		return nil
	}
	if row.HoldsRoom && !next.Holds() {
		if err := freeRoom(ctx, q, row); err != nil {
			return err
		}
	}
	if next == husk.PhaseGone && row.Evicted {
		if err := q.RequeuePod(ctx, db.RequeuePodParams{TenantID: row.TenantID, ID: row.ID}); err != nil {
			return err
		}
		if err := q.Notify(ctx, topicWork); err != nil {
			return err
		}
		return record(ctx, q, row.TenantID, "pod", row.ID, "Requeued", "")
	}
	if next == husk.PhaseGone {
		if _, err := q.RemovePod(ctx, db.RemovePodParams{TenantID: row.TenantID, ID: row.ID}); err != nil {
			return err
		}
		if !row.HoldsRoom { // freeing room has touched the node already
			if err := q.TouchNode(ctx, node); err != nil {
				return err
			}
		}
		return record(ctx, q, row.TenantID, "pod", row.ID, "Gone", "")
	}
	if r.Containers == nil {
		r.Containers = []husk.ContainerStatus{}
	}
	err = q.UpdatePodStatus(ctx, db.UpdatePodStatusParams{
		TenantID: row.TenantID, ID: row.ID, Phase: next, Reason: r.Reason, Message: r.Message, ObservedGeneration: r.Generation,
		Restarts: r.Restarts, Containers: r.Containers, DomainStartingAt: r.DomainStartingAt, DomainStartedAt: r.DomainStartedAt,
		GuestReadyAt: r.GuestReadyAt, RunningAt: r.RunningAt,
	})
	if err != nil {
		return err
	}
	if next != row.Phase {
		return record(ctx, q, row.TenantID, "pod", row.ID, string(next), r.Message)
	}
	return notifyTenant(ctx, q, row.TenantID)
}

// freeRoom gives back what a pod held whose virtual machine is gone: its room on the node and, unless it is only evicted, its volumes.
func freeRoom(ctx context.Context, q *db.Queries, row db.Pod) error {
	if err := q.FreeNodeRoom(ctx, db.FreeNodeRoomParams{
		ID: *row.NodeID, CpuMillis: row.CpuMillis, MemoryMib: row.MemoryMib + row.VmmOverheadMib,
	}); err != nil {
		return err
	}
	if err := q.ClearPodRoom(ctx, db.ClearPodRoomParams{TenantID: row.TenantID, ID: row.ID}); err != nil {
		return err
	}
	if row.Evicted { // it will need its volumes again
		return q.Notify(ctx, topicNode(*row.NodeID))
	}
	if err := q.ReleaseClaims(ctx, db.ReleaseClaimsParams{TenantID: row.TenantID, PodID: row.ID}); err != nil {
		return err
	}
	return q.Notify(ctx, topicNode(*row.NodeID))
}

// PodPhases counts the pods of all tenants by phase.
func (s *Store) PodPhases(ctx context.Context) (map[husk.Phase]int, error) {
	return inControl(ctx, s, func(q *db.Queries) (map[husk.Phase]int, error) {
		rows, err := q.PodPhases(ctx)
		counts := map[husk.Phase]int{}
		for _, r := range rows {
			counts[r.Phase] = r.Pods
		}
		return counts, err
	})
}
