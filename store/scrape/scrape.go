// SPDX-License-Identifier: Apache-2.0

// Package scrape reads the metrics of several tenants at once, in transactions of package store.
package scrape

import (
	"context"

	"github.com/google/uuid"

	"husk"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/groups"
	"husk/store/ingresses"
	"husk/store/services"
)

// CallersThatStand returns those of the callers who still have the credentials and the role of their tokens.
func CallersThatStand(ctx context.Context, q *db.Queries, callers []husk.Caller) ([]husk.Caller, error) {
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

// Tenants returns the metrics of these tenants.
func Tenants(ctx context.Context, q *db.Queries, ids []uuid.UUID) (map[uuid.UUID]*husk.TenantMetrics, error) {
	tenants, err := q.MetricsOfTenants(ctx, ids)
	if err != nil {
		return nil, err
	}
	all := make(map[uuid.UUID]*husk.TenantMetrics, len(tenants))
	for _, t := range tenants {
		all[t.Tenant.ID] = &husk.TenantMetrics{ID: t.Tenant.ID, Name: t.Tenant.Name, Quota: husk.QuotaUse{
			Limits: convert.Quota(t.Tenant),
			Used: husk.ResourceUse{
				Pods: t.Pods, CPUMillis: t.CpuMillis, MemoryMiB: t.MemoryMib, ScratchGiB: t.ScratchGib, Volumes: t.Volumes, VolumeGiB: t.VolumeGib, Snapshots: t.Snapshots,
				Networks: t.Networks, Addresses: t.Addresses, Images: t.Images, Configs: t.Configs, Services: t.Services, Ingresses: t.Ingresses, SecurityGroups: t.SecurityGroups,
			},
		}}
	}
	rows, err := q.FreshSamples(ctx, ids)
	if err != nil {
		return nil, err
	}
	samples := make(map[uuid.UUID]*husk.PodSample, len(rows))
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
			ID: p.ID, Name: p.Name, Labels: p.Labels, Phase: p.Phase, Unknown: p.UnknownSince != nil, NodeName: p.NodeName, Address: p.Address,
			Limits: husk.Resources{CPUMillis: p.CpuMillis, MemoryMiB: p.MemoryMib}, Restarts: p.Restarts, Containers: p.Containers, StartedAt: p.DomainStartedAt,
		}
		if !f.Unknown && (p.Phase == husk.PhaseRunning || p.Phase == husk.PhaseStarting || p.Phase == husk.PhaseStopping) {
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
	counted, err := services.Count(ctx, q, ids)
	for tenant, of := range counted {
		if t := all[tenant]; t != nil {
			t.Services = of
		}
	}
	if err != nil {
		return nil, err
	}
	grouped, err := groups.Count(ctx, q, ids)
	for tenant, of := range grouped {
		if t := all[tenant]; t != nil {
			t.Groups = of
		}
	}
	if err != nil {
		return nil, err
	}
	passed, err := ingresses.Metrics(ctx, q, ids)
	for tenant, of := range passed {
		if t := all[tenant]; t != nil {
			t.Ingresses = of
		}
	}
	return all, err
}
