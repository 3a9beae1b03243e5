package store

import (
	"context"

	"husk/store/db"
)

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
