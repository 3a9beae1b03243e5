package store

import (
	"context"
	"maps"
	"slices"

	"husk/store/db"
)

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
