// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"encoding/json"

	"husk"
	"husk/store/convert"
	"husk/store/db"
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
		stand, err := callersThatStand(ctx, q, callers)
		if err != nil {
			return result{}, err
		}
		tenants, err := tenantMetrics(ctx, q, ids)
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
	return inTenant(ctx, t, func(q *db.Queries) ([]husk.Caller, error) { return callersThatStand(ctx, q, callers) })
}

func callersThatStand(ctx context.Context, q *db.Queries, callers []husk.Caller) ([]husk.Caller, error) {
	if len(callers) == 0 {
		return nil, nil
	}
	var p db.CallersThatStandParams
	for _, c := range callers {
		p.Tenants, p.Callers, p.Keys, p.Roles, p.Limits = append(p.Tenants, c.TenantID), append(p.Callers, c.ID), append(p.Keys, c.KeyID), append(p.Roles, string(c.Role)),
			append(p.Limits, string(c.Limit))
	}
	places, err := q.CallersThatStand(ctx, p)
	if err != nil {
		return nil, err
	}
	stand := make([]husk.Caller, 0, len(places))
	for _, place := range places {
		stand = append(stand, callers[place-1])
	}
	return stand, nil
}

func tenantMetrics(ctx context.Context, q *db.Queries, ids []ID) (map[ID]*husk.TenantMetrics, error) {
	tenants, err := q.MetricsOfTenants(ctx, ids)
	if err != nil {
		return nil, err
	}
	all := make(map[ID]*husk.TenantMetrics, len(tenants))
	for _, t := range tenants {
		all[t.Tenant.ID] = &husk.TenantMetrics{ID: t.Tenant.ID, Name: t.Tenant.Name, Quota: husk.QuotaUse{
			Limits: convert.Quota(t.Tenant),
			Used: husk.ResourceUse{
				Pods: t.Pods, CPUMillis: t.CpuMillis, MemoryMiB: t.MemoryMib, ScratchGiB: t.ScratchGib, Volumes: t.Volumes, VolumeGiB: t.VolumeGib,
				Networks: t.Networks, Addresses: t.Pods, Images: t.Images, Configs: t.Configs,
			},
		}}
	}
	rows, err := q.FreshSamples(ctx, ids)
	if err != nil {
		return nil, err
	}
	samples := make(map[ID]*husk.PodSample, len(rows))
	for i := range rows {
		samples[rows[i].PodID] = &rows[i].Figures
	}
	pods, err := q.MetricsOfPods(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, p := range pods {
		t := all[p.TenantID]
		if t == nil {
			continue // created since
		}
		f := husk.PodMetrics{
			ID: p.ID, Name: p.Name, Labels: p.Labels, Phase: p.Phase, NodeName: p.NodeName, Address: p.Address,
			Limits: husk.Resources{CPUMillis: p.CpuMillis, MemoryMiB: p.MemoryMib}, Restarts: p.Restarts, Containers: p.Containers, StartedAt: p.DomainStartedAt,
		}
		if p.Phase == husk.PhaseRunning || p.Phase == husk.PhaseStarting || p.Phase == husk.PhaseStopping {
			f.Sample = samples[p.ID]
		}
		t.Pods = append(t.Pods, f)
	}
	volumes, err := q.MetricsOfVolumes(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, v := range volumes {
		if t := all[v.TenantID]; t != nil {
			t.Volumes = append(t.Volumes, husk.VolumeMetrics{ID: v.ID, Name: v.Name, SizeGiB: v.SizeGib})
		}
	}
	return all, nil
}
