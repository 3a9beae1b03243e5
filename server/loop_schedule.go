package server

import (
	"context"
	"time"

	"husk"
	"husk/scheduler"
	"husk/store"
)

const (
	// scheduleBatch is how many pending pods one pass takes at most: enough that a statement costs little a pod, few enough that a pass
	// stays below a second.
	scheduleBatch = 10_000
	// wakeBatch is how many pods that were put off are tried again at once when room appears.
	wakeBatch = 1000
)

// placer is the scheduling of one leadership. It remembers how much room each node had, to notice where some has appeared.
type placer struct {
	*Server
	free map[store.ID]husk.Resources
}

func newPlacer(s *Server) *placer { return &placer{Server: s} }

// pass packs what is pending and due, and commits the batch in one statement. What fits nowhere is put off and says why. A pass that dies
// anywhere has placed its batch or nothing of it.
func (p *placer) pass(ctx context.Context, epoch int64) error {
	pending, err := p.store.PendingPods(ctx, scheduleBatch)
	if err != nil {
		return err
	}
	waiting, err := p.store.AnyPutOff(ctx)
	if err != nil || len(pending) == 0 && !waiting {
		return err
	}
	rooms, err := p.store.NodeRooms(ctx)
	if err != nil {
		return err
	}
	if room := p.appeared(rooms); waiting && room != (husk.Resources{}) {
		woken, err := p.store.Wake(ctx, room, wakeBatch)
		if err != nil {
			return err
		}
		if woken > 0 {
			return errMore
		}
	}
	if len(pending) == 0 {
		return nil
	}
	p.metrics.queueAge.Set(time.Since(pending[0].CreatedAt).Seconds())
	placed, refused, err := p.place(ctx, epoch, pending, rooms)
	if err != nil {
		return err
	}
	if placed+refused < len(pending) || placed > 0 && len(pending) == scheduleBatch {
		return errMore // something had changed, or there is more
	}
	return nil
}

// place plans a batch and commits it.
func (p *placer) place(ctx context.Context, epoch int64, pending []store.PendingPod, rooms []store.NodeRoom) (placed, refused int, err error) {
	keys := make(map[string]store.PodKey, len(pending))
	pods := make([]scheduler.Pod, 0, len(pending))
	var refusals []store.Refusal
	for _, d := range pending {
		key := store.PodKey{TenantID: d.TenantID, ID: d.ID}
		if d.WaitsFor != "" {
			refusals = append(refusals, store.Refusal{Pod: key, Reason: "Waiting", Message: d.WaitsFor, Waits: true})
			continue
		}
		keys[d.ID.String()] = key
		pods = append(pods, scheduler.Pod{ID: d.ID.String(), Size: scheduler.Resources(d.Size)})
	}
	nodes := make([]scheduler.Node, 0, len(rooms))
	byID := make(map[string]store.NodeRoom, len(rooms))
	for _, r := range rooms {
		id := r.ID.String()
		byID[id] = r
		nodes = append(nodes, scheduler.Node{
			ID: id, Ready: r.State == nodeReady, Capacity: scheduler.Resources(r.Capacity), Allocated: scheduler.Resources(r.Allocated),
			Overhead: scheduler.Resources{MemoryMiB: r.VMMOverheadMiB},
		})
	}
	plan := scheduler.Schedule(nodes, pods)
	for _, r := range plan.Refusals {
		refusals = append(refusals, store.Refusal{Pod: keys[r.PodID], Reason: string(r.Reason), Message: r.Message()})
	}
	if err := p.store.Refuse(ctx, refusals); err != nil {
		return 0, 0, err
	}
	p.metrics.refusals.Add(float64(len(plan.Refusals)))
	if len(plan.Placements) == 0 {
		return 0, len(refusals), nil
	}
	batch := make([]store.Placement, 0, len(plan.Placements))
	for _, pl := range plan.Placements {
		room := byID[pl.NodeID]
		batch = append(batch, store.Placement{Pod: keys[pl.PodID], Node: room.ID, NodeVersion: room.Version})
	}
	done, err := p.store.CommitPlacements(ctx, epoch, batch)
	if err != nil {
		return 0, 0, err
	}
	for _, pod := range done {
		p.log.Info("placed", "tenant", pod.TenantID, "pod", pod.ID)
	}
	p.metrics.placements.Add(float64(len(done)))
	p.metrics.conflicts.Add(float64(len(batch) - len(done)))
	p.took(plan.Placements, pods, byID)
	return len(done), len(refusals), nil
}

// appeared returns the most cpu and the most memory that nodes have free whose room has grown since the last pass, and remembers.
func (p *placer) appeared(rooms []store.NodeRoom) husk.Resources {
	var most husk.Resources
	now := make(map[store.ID]husk.Resources, len(rooms))
	for _, r := range rooms {
		if r.State != nodeReady {
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

// took remembers what a plan takes away, so that room which comes back later is noticed.
func (p *placer) took(placements []scheduler.Placement, pods []scheduler.Pod, nodes map[string]store.NodeRoom) {
	sizes := make(map[string]scheduler.Resources, len(pods))
	for _, pod := range pods {
		sizes[pod.ID] = pod.Size
	}
	for _, pl := range placements {
		room, size := nodes[pl.NodeID], sizes[pl.PodID]
		free := p.free[room.ID]
		p.free[room.ID] = husk.Resources{CPUMillis: free.CPUMillis - size.CPUMillis, MemoryMiB: free.MemoryMiB - size.MemoryMiB - room.VMMOverheadMiB}
	}
}
