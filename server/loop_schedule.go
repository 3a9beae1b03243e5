package server

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"husk/ceph"
	"husk/scheduler"
	"husk/store"
)

// scheduleBatch is how many pending pods one pass takes at most.
const scheduleBatch = 1000

// schedulePass packs what is pending, makes each placed pod's key in Ceph, and commits the batch.
//
// The key comes first: a placement that is committed can start at once. A pass that dies in between leaves keys of pending pods,
// which the next pass finds again by name, and the collector removes those of pods that are gone.
func (s *Server) schedulePass(ctx context.Context, epoch int64) error {
	pending, err := s.store.PendingPods(ctx, scheduleBatch)
	if err != nil || len(pending) == 0 {
		return err
	}
	rooms, err := s.store.NodeRooms(ctx)
	if err != nil {
		return err
	}
	keys := map[string]store.PodKey{}
	var pods []scheduler.Pod
	var refusals []store.Refusal
	for _, p := range pending {
		key := store.PodKey{TenantID: p.TenantID, ID: p.ID}
		if p.WaitsFor != "" {
			refusals = append(refusals, store.Refusal{Pod: key, Reason: "Waiting", Message: p.WaitsFor})
			continue
		}
		keys[p.ID.String()] = key
		pods = append(pods, scheduler.Pod{ID: p.ID.String(), Size: scheduler.Resources(p.Size)})
	}
	nodes := make([]scheduler.Node, 0, len(rooms))
	byID := map[string]store.NodeRoom{}
	for _, r := range rooms {
		byID[r.Node.ID.String()] = r
		nodes = append(nodes, scheduler.Node{
			ID: r.Node.ID.String(), Ready: r.Node.State == nodeReady, Capacity: scheduler.Resources(r.Node.Capacity),
			Allocated: scheduler.Resources(r.Node.Allocated), Overhead: scheduler.Resources{MemoryMiB: r.Node.VMMOverheadMiB},
		})
	}
	plan := scheduler.Schedule(nodes, pods)
	for _, r := range plan.Refusals {
		refusals = append(refusals, store.Refusal{Pod: keys[r.PodID], Reason: string(r.Reason), Message: r.Message()})
	}
	if err := s.store.Refuse(ctx, refusals); err != nil {
		return err
	}
	if len(plan.Placements) == 0 {
		return nil
	}
	batch, troubles := s.grant(ctx, plan.Placements, keys, byID)
	placed, err := s.store.CommitPlacements(ctx, epoch, batch)
	if err != nil {
		return errors.Join(err, troubles)
	}
	s.metrics.placements.Add(float64(len(placed)))
	for _, p := range placed {
		s.log.Info("placed", "tenant", p.TenantID, "pod", p.ID)
	}
	if missed := len(batch) - len(placed); missed > 0 {
		s.metrics.conflicts.Add(float64(missed))
		return errors.Join(errMore, troubles)
	}
	return troubles
}

// keyWorkers is how many keys are made at the same time; the monitor commits several in one round.
const keyWorkers = 8

// grant makes the Ceph key of every placed pod. A pod whose key cannot be made stays pending and does not hold up the others.
func (s *Server) grant(ctx context.Context, placements []scheduler.Placement, keys map[string]store.PodKey, nodes map[string]store.NodeRoom) ([]store.Placement, error) {
	secrets := make([]string, len(placements))
	failures := make([]error, len(placements))
	var g errgroup.Group
	g.SetLimit(keyWorkers)
	for i, pl := range placements {
		g.Go(func() error {
			secrets[i], failures[i] = s.podSecret(ctx, keys[pl.PodID])
			return nil
		})
	}
	err := errors.Join(append(failures, g.Wait())...)
	batch := make([]store.Placement, 0, len(placements))
	for i, pl := range placements {
		if failures[i] == nil {
			room := nodes[pl.NodeID]
			batch = append(batch, store.Placement{Pod: keys[pl.PodID], Node: room.Node.ID, NodeVersion: room.Version, CephKey: secrets[i]})
		}
	}
	return batch, err
}

func (s *Server) podSecret(ctx context.Context, pod store.PodKey) (string, error) {
	disks, err := s.store.PodDisks(ctx, pod)
	if err != nil {
		return "", err
	}
	access := make([]ceph.Access, 0, len(disks))
	for _, d := range disks {
		access = append(access, ceph.Access{Disk: ceph.Disk{Pool: s.cfg.VolumesPool, Name: d.Name, ID: d.RBDID}, Write: d.Writable})
	}
	key, err := s.cluster.CreatePodKey(ctx, pod.ID.String(), access)
	if err != nil {
		return "", fmt.Errorf("ceph key of pod %s: %w", pod.ID, err)
	}
	return key.Secret, nil
}
