package store

import (
	"context"
	"errors"
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
	Labels       map[string]string
	Size         husk.Resources
	CreatedAt    time.Time
	WaitsFor     string // a volume or image that is not ready; empty when the pod can be placed
	Reason       string // what the pod's status says now
}

// PodKey identifies a pod together with its tenant.
type PodKey struct{ TenantID, ID ID }

// PendingPods returns up to limit pods that wait for a place, oldest first.
func (s *Store) PendingPods(ctx context.Context, limit int) ([]PendingPod, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]PendingPod, error) {
		rows, err := q.PendingPods(ctx, limit)
		return convertAll(rows, func(r db.PendingPodsRow) PendingPod {
			p := PendingPod{
				TenantID: r.TenantID, ID: r.ID, Labels: r.Labels, CreatedAt: r.CreatedAt, Reason: r.Reason,
				Size: husk.Resources{CPUMillis: r.CpuMillis, MemoryMiB: r.MemoryMib},
			}
			switch {
			case r.WaitsForVolume != "":
				p.WaitsFor = "volume " + r.WaitsForVolume + " is not made yet"
			case r.WaitsForImage != "":
				p.WaitsFor = "image " + r.WaitsForImage + " is not imported"
			}
			return p
		}), err
	})
}

// NodeRoom is what the scheduler needs to know of a node.
type NodeRoom struct {
	Node    husk.Node
	Version int64
}

// NodeRooms returns every node with its version.
func (s *Store) NodeRooms(ctx context.Context) ([]NodeRoom, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]NodeRoom, error) {
		rows, err := q.Nodes(ctx)
		return convertAll(rows, func(n db.Node) NodeRoom { return NodeRoom{nodeOf(n), n.Version} }), err
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
	CephKey     string
}

// CommitPlacements writes a batch in one statement and returns the pods that were placed. Those that are missing were deleted
// meanwhile, their node has changed, or another server leads; they are to be looked at again.
func (s *Store) CommitPlacements(ctx context.Context, epoch int64, batch []Placement) ([]PodKey, error) {
	p := db.CommitPlacementsParams{Epoch: epoch}
	for _, pl := range batch {
		p.TenantIds = append(p.TenantIds, pl.Pod.TenantID)
		p.PodIds = append(p.PodIds, pl.Pod.ID)
		p.NodeIds = append(p.NodeIds, pl.Node)
		p.NodeVersions = append(p.NodeVersions, pl.NodeVersion)
	}
	return inControl(ctx, s, func(q *db.Queries) ([]PodKey, error) {
		p.CephKeys = nil
		for _, pl := range batch {
			sealed, err := s.sealFor(ctx, q, pl.Pod.TenantID, []byte(pl.CephKey), sealedKeyOwner(pl.Pod.ID))
			if err != nil {
				return nil, err
			}
			p.CephKeys = append(p.CephKeys, sealed)
		}
		rows, err := q.CommitPlacements(ctx, p)
		if err != nil {
			return nil, err
		}
		placed := []PodKey{}
		nodes := map[ID]bool{}
		for _, r := range rows {
			placed = append(placed, PodKey{r.TenantID, r.ID})
			nodes[r.NodeID] = true
			if err := record(ctx, q, r.TenantID, "pod", r.ID, "Placed", ""); err != nil {
				return nil, err
			}
		}
		for node := range nodes {
			if err := q.Notify(ctx, topicNode(node)); err != nil {
				return nil, err
			}
		}
		return placed, nil
	})
}

func sealedKeyOwner(pod ID) string { return "ceph key of pod " + pod.String() }

// Refusal says why a pod is not placed.
type Refusal struct {
	Pod             PodKey
	Reason, Message string
}

// Refuse records why pods are not placed. What is said already is not written again.
func (s *Store) Refuse(ctx context.Context, refusals []Refusal) error {
	if len(refusals) == 0 {
		return nil
	}
	var p db.SetPodReasonsParams
	tenants := map[ID]bool{}
	for _, r := range refusals {
		p.TenantIds = append(p.TenantIds, r.Pod.TenantID)
		p.PodIds = append(p.PodIds, r.Pod.ID)
		p.Reasons = append(p.Reasons, r.Reason)
		p.Messages = append(p.Messages, r.Message)
		tenants[r.Pod.TenantID] = true
	}
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) {
		if err := q.SetPodReasons(ctx, p); err != nil {
			return struct{}{}, err
		}
		for t := range tenants {
			if err := notifyTenant(ctx, q, t); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return err
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
			key, err := s.openFor(ctx, q, r.Pod.TenantID, r.Pod.CephKey, sealedKeyOwner(r.Pod.ID))
			if err != nil {
				return desired{}, wrap(err, "ceph key of pod %s", r.Pod.ID)
			}
			d.pods = append(d.pods, DesiredPod{
				Pod: podOf(r.Pod, ""), CephKey: string(key), Images: byPod[r.Pod.ID],
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
	if !ok || r.Generation < row.ObservedGeneration {
		return nil
	}
	if row.HoldsRoom && !next.Holds() {
		if err := freeRoom(ctx, q, row); err != nil {
			return err
		}
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

// freeRoom gives back what a pod held whose virtual machine is gone: its room on the node and its volumes.
func freeRoom(ctx context.Context, q *db.Queries, row db.Pod) error {
	if err := q.FreeNodeRoom(ctx, db.FreeNodeRoomParams{
		ID: *row.NodeID, CpuMillis: row.CpuMillis, MemoryMib: row.MemoryMib + row.VmmOverheadMib,
	}); err != nil {
		return err
	}
	if err := q.ClearPodRoom(ctx, db.ClearPodRoomParams{TenantID: row.TenantID, ID: row.ID}); err != nil {
		return err
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
