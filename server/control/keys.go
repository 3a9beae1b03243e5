// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"husk"
	"husk/ceph"
	"husk/store"
	"husk/store/disks"
)

// keyWorkers is how many keys are created at the same time: a Ceph monitor commits several in one round.
const keyWorkers = 8

// keys creates the Ceph keys of pods.
type keys struct {
	store       store.Control
	ceph        *ceph.Cluster
	volumesPool string
	log         *slog.Logger
	metrics     *metrics
	views       sync.Mutex
}

// create creates the Ceph key of a placement. A node starts a pod only once the pod has its key. If an earlier attempt has created the key,
// this one finds it by its name. Keys of earlier placements are removed afterwards, because nothing uses them any more.
func (s *keys) create(ctx context.Context, w store.Work) error {
	pod := store.PodKey{TenantID: w.TenantID, ID: w.ObjectID}
	attached, placement, err := s.store.PodToKey(ctx, w)
	if err != nil {
		return err
	}
	access := make([]ceph.Access, 0, len(attached))
	for _, d := range attached {
		disk := cephDisk(d)
		if d.ReadOnly && d.RBDID == "" {
			if disk, err = s.view(ctx, w.TenantID, d); err != nil {
				return err
			}
		}
		disk.Pool = s.volumesPool
		access = append(access, ceph.Access{Disk: disk, Write: d.Digest == "" && !d.ReadOnly})
	}
	key, tampered, err := s.ceph.CreateKey(ctx, husk.KeyHolder(pod.ID, placement), access)
	if err != nil {
		return fmt.Errorf("ceph key of pod %s: %w", pod.ID, err)
	}
	for _, disk := range tampered {
		s.log.Warn("a pod had changed the header of a disk; it is restored. A QEMU of this tenant may be under an attacker's control",
			"tenant", pod.TenantID, "disk", disk, "pod", pod.ID)
		s.metrics.tampered.Inc()
	}
	if err := s.store.SetPodKeys(ctx, map[store.PlacementKey]string{{PodKey: pod, Number: placement}: key.Secret}); err != nil {
		return err
	}
	return s.remove(ctx, w)
}

// view makes the view of a snapshot, which all pods that use the snapshot share. Their keys cannot write its data.
func (s *keys) view(ctx context.Context, tenant store.ID, d disks.Disk) (ceph.Disk, error) {
	s.views.Lock() // several pods may need it at the same time
	defer s.views.Unlock()
	made, err := s.ceph.CloneSnapshot(ctx, ceph.Disk{Name: d.Parent.Name, ID: d.Parent.RBDID}, d.Name, bytesOf(d.SizeGiB, d.Encrypted), nil)
	if err != nil {
		return made, fmt.Errorf("view of snapshot %s: %w", d.SnapshotID, err)
	}
	return made, unlessDeleted(ctx, s.ceph, made, s.store.Copies().ViewMade(ctx, tenant, d.SnapshotID, made.ID, made.Header))
}

// remove removes the keys of the pod's placements that have ended. It lists the keys before it reads which placement is current. The key of a
// later placement has another name, so a leader that was slow, and has lost the lead meanwhile, does not remove it.
func (s *keys) remove(ctx context.Context, w store.Work) error {
	holders, err := s.ceph.KeysOf(ctx, w.ObjectID.String())
	if err != nil {
		return err
	}
	current, err := s.store.KeyHolders(ctx, &w.ObjectID)
	if err != nil {
		return err
	}
	for _, holder := range holders {
		if current[holder] {
			continue
		}
		if err := s.ceph.RemoveKey(ctx, holder); err != nil {
			return err
		}
		s.log.Info("removed the key of a placement that has ended", "tenant", w.TenantID, "pod", w.ObjectID, "holder", holder)
	}
	return nil
}
