// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"maps"

	"husk"
	"husk/openapi"
	"husk/server/request"
	"husk/store"
)

// CreateTenant creates a tenant.
func (a api) CreateTenant(ctx context.Context, r openapi.CreateTenantRequestObject) (openapi.CreateTenantResponseObject, error) {
	quota := husk.DefaultQuota
	if r.Body.Quota != nil {
		quota = changeQuota(*r.Body.Quota)(quota)
		if r.Body.Quota.ScratchGiB == nil {
			quota.ScratchGiB = husk.DefaultScratchGiB * quota.Pods
		}
	}
	t, err := a.control.CreateTenant(ctx, request.Of(ctx).Idempotency(r.Params.IdempotencyKey), r.Body.Name, quota)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Tenant](t)
	return openapi.CreateTenant201JSONResponse{Body: body, Headers: openapi.CreateTenant201ResponseHeaders{ETag: request.ETag(t)}}, err
}

// ListTenants lists tenants.
func (a api) ListTenants(ctx context.Context, r openapi.ListTenantsRequestObject) (openapi.ListTenantsResponseObject, error) {
	tenants, next, err := a.control.Tenants(ctx, request.Page(r.Params.Limit, r.Params.Cursor))
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.Tenant](tenants, next)
	return openapi.ListTenants200JSONResponse{Items: items, NextCursor: cursor}, err
}

// GetTenant returns one tenant.
func (a api) GetTenant(ctx context.Context, r openapi.GetTenantRequestObject) (openapi.GetTenantResponseObject, error) {
	t, err := a.control.Tenant(ctx, r.TenantID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Tenant](t)
	return openapi.GetTenant200JSONResponse{Body: body, Headers: openapi.GetTenant200ResponseHeaders{ETag: request.ETag(t)}}, err
}

// UpdateTenant changes a tenant's quota.
func (a api) UpdateTenant(ctx context.Context, r openapi.UpdateTenantRequestObject) (openapi.UpdateTenantResponseObject, error) {
	t, err := a.control.SetQuota(ctx, r.TenantID, changeQuota(r.Body.Quota))
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Tenant](t)
	return openapi.UpdateTenant200JSONResponse{Body: body, Headers: openapi.UpdateTenant200ResponseHeaders{ETag: request.ETag(t)}}, err
}

// DeleteTenant deletes a tenant that owns no objects.
func (a api) DeleteTenant(ctx context.Context, r openapi.DeleteTenantRequestObject) (openapi.DeleteTenantResponseObject, error) {
	return openapi.DeleteTenant204Response{}, a.control.DeleteTenant(ctx, r.TenantID)
}

// CreateAPIKey creates an API key for an owner of a tenant and returns its secret. If the service account does not exist, it creates it.
func (a api) CreateAPIKey(ctx context.Context, r openapi.CreateAPIKeyRequestObject) (openapi.CreateAPIKeyResponseObject, error) {
	idem := request.Of(ctx).Idempotency(r.Params.IdempotencyKey)
	key, err := a.control.CreateTenantKey(ctx, r.TenantID, idem, openapi.Value(r.Body.ServiceAccount), store.KeyRequest{
		Name: r.Body.Name, Life: lifeOf(r.Body.ExpiresInSeconds), LimitedTo: husk.KeyLimit(openapi.Value(r.Body.LimitedTo)),
	})
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.CreateAPIKey201JSONResponse](key)
}

// ListAPIKeys lists the API keys of a tenant, without secrets.
func (a api) ListAPIKeys(ctx context.Context, r openapi.ListAPIKeysRequestObject) (openapi.ListAPIKeysResponseObject, error) {
	keys, err := a.control.TenantKeys(ctx, r.TenantID)
	if err != nil {
		return nil, err
	}
	items, _, err := request.Listed[openapi.APIKey](keys, "")
	return openapi.ListAPIKeys200JSONResponse{Items: items}, err
}

// DeleteAPIKey revokes an API key of a tenant.
func (a api) DeleteAPIKey(ctx context.Context, r openapi.DeleteAPIKeyRequestObject) (openapi.DeleteAPIKeyResponseObject, error) {
	return openapi.DeleteAPIKey204Response{}, a.control.DeleteTenantKey(ctx, r.TenantID, r.KeyID)
}

// GetQuota returns the tenant's limits and how much of them it uses.
func (a api) GetQuota(ctx context.Context, _ openapi.GetQuotaRequestObject) (openapi.GetQuotaResponseObject, error) {
	use, err := a.tenant(ctx).Quota(ctx)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.GetQuota200JSONResponse](use)
}

// changeQuota changes the given limits and keeps the others.
func changeQuota(c openapi.QuotaChange) func(husk.Quota) husk.Quota {
	return func(q husk.Quota) husk.Quota {
		for _, limit := range []struct {
			from *int
			to   *int
		}{
			{c.Pods, &q.Pods},
			{c.CPUMillis, &q.CPUMillis},
			{c.MemoryMiB, &q.MemoryMiB},
			{c.Volumes, &q.Volumes},
			{c.VolumeGiB, &q.VolumeGiB},
			{c.ScratchGiB, &q.ScratchGiB},
			{c.Snapshots, &q.Snapshots},
			{c.Networks, &q.Networks},
			{c.Addresses, &q.Addresses},
			{c.Images, &q.Images},
			{c.Configs, &q.Configs},
			{c.Services, &q.Services},
			{c.SecurityGroups, &q.SecurityGroups},
			{c.Ingresses, &q.Ingresses},
			{c.RequestsPerSecond, &q.RequestsPerSecond},
			{c.Priority, &q.Priority},
		} {
			if limit.from != nil {
				*limit.to = *limit.from
			}
		}
		classes := maps.Clone(q.VolumeClassGiB)
		for class, limit := range openapi.Value(c.VolumeClassGiB) {
			if classes == nil {
				classes = map[string]int{}
			}
			if classes[class] = limit; limit < 0 {
				delete(classes, class)
			}
		}
		q.VolumeClassGiB = classes
		return q
	}
}
