// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"encoding/json"

	"husk"
	"husk/store/db"
	"husk/store/scrape"
)

// RecordSamples stores a node's samples of its pods, in one statement. It drops samples of pods that are not on the node. If there are two
// samples of one pod, it stores the first.
func (c Control) RecordSamples(ctx context.Context, node ID, samples []husk.PodSample) error {
	p := db.RecordSamplesParams{NodeID: node, PodIds: make([]ID, 0, len(samples)), Figures: make([]string, 0, len(samples))}
	seen := make(map[ID]bool, len(samples))
	for _, sample := range samples {
		if seen[sample.PodID] {
			continue
		}
		seen[sample.PodID] = true
		raw, err := json.Marshal(sample)
		if err != nil {
			return err
		}
		p.PodIds, p.Figures = append(p.PodIds, sample.PodID), append(p.Figures, string(raw))
	}
	if len(p.PodIds) == 0 {
		return nil
	}
	return controlDo(ctx, c, func(q *db.Queries) error { return q.RecordSamples(ctx, p) })
}

// ForgetSamples deletes samples that are too old to be shown.
func (c Control) ForgetSamples(ctx context.Context) (int64, error) {
	return inControl(ctx, c, func(q *db.Queries) (int64, error) { return q.ForgetSamples(ctx) })
}

// TenantMetrics returns the metrics of these tenants, and those of the given callers who still have the credentials and the role of their
// tokens. It takes one transaction of a few statements, however many tenants there are.
func (c Control) TenantMetrics(ctx context.Context, ids []ID, callers []husk.Caller) (map[ID]*husk.TenantMetrics, []husk.Caller, error) {
	type result struct {
		tenants map[ID]*husk.TenantMetrics
		stand   []husk.Caller
	}
	r, err := inControl(ctx, c, func(q *db.Queries) (result, error) {
		stand, err := scrape.CallersThatStand(ctx, q, callers)
		if err != nil {
			return result{}, err
		}
		tenants, err := scrape.Tenants(ctx, q, ids)
		return result{tenants, stand}, err
	})
	return r.tenants, r.stand, err
}

// CheckCaller refuses a caller whose credentials do not exist, or have another role than the token. Codes: unauthenticated.
func (t Tenant) CheckCaller(ctx context.Context) error {
	_, err := inTenant(ctx, t, func(*db.Queries) (struct{}, error) { return struct{}{}, nil })
	return err
}

// CallersThatStand returns those of the tenant's callers who still have the credentials and the role of their tokens.
func (t Tenant) CallersThatStand(ctx context.Context, callers []husk.Caller) ([]husk.Caller, error) {
	return inTenant(ctx, t, func(q *db.Queries) ([]husk.Caller, error) { return scrape.CallersThatStand(ctx, q, callers) })
}
