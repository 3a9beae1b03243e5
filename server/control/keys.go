// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"husk/ceph"
	"husk/store"
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
}

// create creates the Ceph key of a placed pod. A node starts a pod only once the pod has its key. If an earlier attempt has created the key,
// this one finds it by its name.
func (s *keys) create(ctx context.Context, w store.Work) error {
	pod := store.PodKey{TenantID: w.TenantID, ID: w.ObjectID}
	disks, hadOne, err := s.store.PodToKey(ctx, w)
	if err != nil {
		return err
	}
	if hadOne { // the node that it was on may still know the old key
		if err := s.ceph.RemovePodKey(ctx, pod.ID.String()); err != nil {
			return fmt.Errorf("ceph key of pod %s: %w", pod.ID, err)
		}
	}
	access := make([]ceph.Access, 0, len(disks))
	for _, d := range disks {
		disk := cephDisk(d)
		disk.Pool = s.volumesPool
		access = append(access, ceph.Access{Disk: disk, Write: d.Digest == ""})
	}
	key, tampered, err := s.ceph.CreatePodKey(ctx, pod.ID.String(), access)
	if err != nil {
		return fmt.Errorf("ceph key of pod %s: %w", pod.ID, err)
	}
	for _, disk := range tampered {
		s.log.Warn("a pod had changed the header of a disk; it is restored. A QEMU of this tenant may be under an attacker's control",
			"tenant", pod.TenantID, "disk", disk, "pod", pod.ID)
		s.metrics.tampered.Inc()
	}
	return s.store.SetPodKeys(ctx, map[store.PodKey]string{pod: key.Secret})
}

// remove removes the Ceph key of a pod that has ended or is gone.
func (s *keys) remove(ctx context.Context, w store.Work) error {
	pod := store.PodKey{TenantID: w.TenantID, ID: w.ObjectID}
	wanted, err := s.store.PodHasKey(ctx, pod)
	if err != nil || wanted {
		return err
	}
	if err := s.ceph.RemovePodKey(ctx, pod.ID.String()); err != nil {
		return fmt.Errorf("ceph key of pod %s: %w", pod.ID, err)
	}
	// A pod that has ended can be started again at any moment, and then this may have removed its new key.
	if wanted, err = s.store.PodHasKey(ctx, pod); err != nil || wanted {
		return errors.Join(err, s.store.RenewPodKey(ctx, pod))
	}
	s.log.Info("removed the key of a pod that has ended", "tenant", pod.TenantID, "pod", pod.ID)
	return nil
}
