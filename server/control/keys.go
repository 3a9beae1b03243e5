// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"husk/ceph"
	"husk/store"
)

const (
	// KeyBatch is how many keys one pass creates at most. keyWorkers is how many it creates at the same time: a Ceph monitor commits several in
	// one round.
	KeyBatch   = 200
	keyWorkers = 8
)

// keyRetry is how long the loop waits before it retries a key that could not be created. Meanwhile it creates those of other pods.
const keyRetry = 5 * time.Second

// keys creates the Ceph keys of pods. It remembers the pods for which this failed, so that they do not fill every batch.
type keys struct {
	store       store.Control
	ceph        *ceph.Cluster
	volumesPool string
	later       map[store.PodKey]time.Time
}

// due returns placed pods without a key, except those that failed recently.
func (s *keys) due(ctx context.Context) ([]store.KeylessPod, error) {
	maps.DeleteFunc(s.later, func(_ store.PodKey, at time.Time) bool { return time.Now().After(at) })
	pods, err := s.store.PodsWithoutKey(ctx, KeyBatch+len(s.later))
	pods = slices.DeleteFunc(pods, func(p store.KeylessPod) bool { return !s.later[p.PodKey].IsZero() })
	return pods[:min(len(pods), KeyBatch)], err
}

// pass creates the Ceph keys of placed pods that have none. A node starts a pod only once the pod has its key. If a pass died after it had
// created a key, the next pass finds the key by its name. A pod whose key cannot be created does not delay the others.
func (s *keys) pass(ctx context.Context, _ int64) error {
	pods, err := s.due(ctx)
	if err != nil || len(pods) == 0 {
		return err
	}
	var mu sync.Mutex
	made := map[store.PodKey]string{}
	var failures []error
	var g errgroup.Group
	g.SetLimit(keyWorkers)
	for _, pod := range pods {
		g.Go(func() error {
			var secret string
			err := safely(func() (err error) { secret, err = s.podSecret(ctx, pod); return err })
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures = append(failures, err)
				s.later[pod.PodKey] = time.Now().Add(keyRetry)
				return nil
			}
			made[pod.PodKey] = secret
			return nil
		})
	}
	failures = append(failures, g.Wait())
	if len(made) > 0 {
		failures = append(failures, s.store.SetPodKeys(ctx, made))
	}
	if err := errors.Join(failures...); err != nil {
		return err
	}
	if len(pods) == KeyBatch {
		return ErrMore
	}
	return nil
}

func (s *keys) podSecret(ctx context.Context, pod store.KeylessPod) (string, error) {
	if pod.HadOne { // the node that it was on may still know the old key
		if err := s.ceph.RemovePodKey(ctx, pod.ID.String()); err != nil {
			return "", fmt.Errorf("ceph key of pod %s: %w", pod.ID, err)
		}
	}
	disks, err := s.store.PodDisks(ctx, pod.PodKey)
	if err != nil {
		return "", err
	}
	access := make([]ceph.Access, 0, len(disks))
	for _, d := range disks {
		access = append(access, ceph.Access{Disk: ceph.Disk{Pool: s.volumesPool, Name: d.Name, ID: d.RBDID}, Write: d.Writable})
	}
	key, err := s.ceph.CreatePodKey(ctx, pod.ID.String(), access)
	if err != nil {
		return "", fmt.Errorf("ceph key of pod %s: %w", pod.ID, err)
	}
	return key.Secret, nil
}
