package server

import (
	"context"
	"time"

	"husk"
	"husk/openapi"
	"husk/pki"
)

const defaultJoinTokenLife = time.Hour

// CreateTenant makes a tenant.
func (a api) CreateTenant(ctx context.Context, r openapi.CreateTenantRequestObject) (openapi.CreateTenantResponseObject, error) {
	quota := husk.DefaultQuota
	if r.Body.Quota != nil {
		quota = quotaOf(*r.Body.Quota)
	}
	t, err := a.store.CreateTenant(ctx, requestOf(ctx).idempotency(r.Params.IdempotencyKey), r.Body.Name, quota)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.CreateTenant201JSONResponse](t)
}

// ListTenants lists.
func (a api) ListTenants(ctx context.Context, r openapi.ListTenantsRequestObject) (openapi.ListTenantsResponseObject, error) {
	tenants, next, err := a.store.Tenants(ctx, pageOf(r.Params.Limit, r.Params.Cursor))
	if err != nil {
		return nil, err
	}
	items, cursor, err := listed[openapi.Tenant](tenants, next)
	return openapi.ListTenants200JSONResponse{Items: items, NextCursor: cursor}, err
}

// GetTenant returns one tenant.
func (a api) GetTenant(ctx context.Context, r openapi.GetTenantRequestObject) (openapi.GetTenantResponseObject, error) {
	t, err := a.store.Tenant(ctx, r.TenantID)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.GetTenant200JSONResponse](t)
}

// UpdateTenant changes a tenant's quota.
func (a api) UpdateTenant(ctx context.Context, r openapi.UpdateTenantRequestObject) (openapi.UpdateTenantResponseObject, error) {
	t, err := a.store.SetQuota(ctx, r.TenantID, quotaOf(r.Body.Quota))
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.UpdateTenant200JSONResponse](t)
}

// DeleteTenant removes a tenant that owns nothing.
func (a api) DeleteTenant(ctx context.Context, r openapi.DeleteTenantRequestObject) (openapi.DeleteTenantResponseObject, error) {
	return openapi.DeleteTenant204Response{}, a.store.DeleteTenant(ctx, r.TenantID)
}

// CreateAPIKey makes an API key and shows its secret.
func (a api) CreateAPIKey(ctx context.Context, r openapi.CreateAPIKeyRequestObject) (openapi.CreateAPIKeyResponseObject, error) {
	key, err := a.store.CreateTenantKey(ctx, r.TenantID, r.Body.Name)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.CreateAPIKey201JSONResponse](key)
}

// ListAPIKeys lists without secrets.
func (a api) ListAPIKeys(ctx context.Context, r openapi.ListAPIKeysRequestObject) (openapi.ListAPIKeysResponseObject, error) {
	keys, err := a.store.TenantKeys(ctx, r.TenantID)
	if err != nil {
		return nil, err
	}
	items, _, err := listed[openapi.APIKey](keys, "")
	return openapi.ListAPIKeys200JSONResponse{Items: items}, err
}

// DeleteAPIKey revokes.
func (a api) DeleteAPIKey(ctx context.Context, r openapi.DeleteAPIKeyRequestObject) (openapi.DeleteAPIKeyResponseObject, error) {
	return openapi.DeleteAPIKey204Response{}, a.store.DeleteTenantKey(ctx, r.TenantID, r.KeyID)
}

// ListNodes lists nodes by name.
func (a api) ListNodes(ctx context.Context, _ openapi.ListNodesRequestObject) (openapi.ListNodesResponseObject, error) {
	nodes, err := a.store.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	items, _, err := listed[openapi.Node](nodes, "")
	return openapi.ListNodes200JSONResponse{Items: items}, err
}

// GetNode returns one node.
func (a api) GetNode(ctx context.Context, r openapi.GetNodeRequestObject) (openapi.GetNodeResponseObject, error) {
	n, err := a.store.Node(ctx, r.NodeID)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.GetNode200JSONResponse](n)
}

// DeleteNode forgets a node that runs nothing.
func (a api) DeleteNode(ctx context.Context, r openapi.DeleteNodeRequestObject) (openapi.DeleteNodeResponseObject, error) {
	return openapi.DeleteNode204Response{}, a.store.DeleteNode(ctx, r.NodeID)
}

// CreateJoinToken makes a token with which one node may join, or come back.
func (a api) CreateJoinToken(ctx context.Context, r openapi.CreateJoinTokenRequestObject) (openapi.CreateJoinTokenResponseObject, error) {
	life := defaultJoinTokenLife
	if r.Body.ExpiresInSeconds != nil {
		life = time.Duration(*r.Body.ExpiresInSeconds) * time.Second
	}
	expiresAt := time.Now().Add(life)
	secret, err := a.store.CreateJoinToken(ctx, expiresAt, r.Body.NodeID)
	if err != nil {
		return nil, err
	}
	return openapi.CreateJoinToken201JSONResponse{Token: pki.NewJoinToken(secret, a.authority.Root()), ExpiresAt: expiresAt}, nil
}

func quotaOf(q openapi.Quota) husk.Quota {
	return husk.Quota{Pods: q.Pods, CPUMillis: q.CPUMillis, MemoryMiB: q.MemoryMiB, Volumes: q.Volumes, VolumeGiB: q.VolumeGiB, Images: q.Images}
}
