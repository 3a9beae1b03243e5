package server

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
	// keyBatch is how many keys one pass makes at most, and keyWorkers how many at the same time: the monitor commits several in one round.
	keyBatch   = 200
	keyWorkers = 8
)

// keyRetry is how long a pod waits whose key could not be made, while those of others are.
const keyRetry = 5 * time.Second

// keyMaker is the making of keys of one leadership. It remembers whose key failed, so that they do not fill every batch.
type keyMaker struct {
	*Server
	later map[store.PodKey]time.Time
}

func newKeyMaker(s *Server) *keyMaker { return &keyMaker{s, map[store.PodKey]time.Time{}} }

// due returns placed pods without a key whose turn it is.
func (s *keyMaker) due(ctx context.Context) ([]store.KeylessPod, error) {
	maps.DeleteFunc(s.later, func(_ store.PodKey, at time.Time) bool { return time.Now().After(at) })
	pods, err := s.store.PodsWithoutKey(ctx, keyBatch+len(s.later))
	pods = slices.DeleteFunc(pods, func(p store.KeylessPod) bool { return !s.later[p.PodKey].IsZero() })
	return pods[:min(len(pods), keyBatch)], err
}

// pass makes the Ceph key of every pod that is placed and has none, and so lets its node begin. A key that was made by a pass that
// died is found again by its name; a pod whose key cannot be made does not hold up the others.
func (s *keyMaker) pass(ctx context.Context, _ int64) error {
	pods, err := s.due(ctx)
	if err != nil || len(pods) == 0 {
		return err
	}
	var mu sync.Mutex
	keys := map[store.PodKey]string{}
	var failures []error
	var g errgroup.Group
	g.SetLimit(keyWorkers)
	for _, pod := range pods {
		g.Go(func() error {
			secret, err := s.podSecret(ctx, pod)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures = append(failures, err)
				s.later[pod.PodKey] = time.Now().Add(keyRetry)
				return nil
			}
			keys[pod.PodKey] = secret
			return nil
		})
	}
	failures = append(failures, g.Wait())
	if len(keys) > 0 {
		failures = append(failures, s.store.SetPodKeys(ctx, keys))
	}
	if err := errors.Join(failures...); err != nil {
		return err
	}
	if len(pods) == keyBatch {
		return errMore
	}
	return nil
}

func (s *Server) podSecret(ctx context.Context, pod store.KeylessPod) (string, error) {
	if pod.HadOne { // which the node that it was on may still know
		if err := s.cluster.RemovePodKey(ctx, pod.ID.String()); err != nil {
			return "", fmt.Errorf("ceph key of pod %s: %w", pod.ID, err)
		}
	}
	disks, err := s.store.PodDisks(ctx, pod.PodKey)
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
