package server

import (
	"context"
	"time"

	"husk"
	"husk/openapi"
	"husk/pki"
	"husk/store"
)

const defaultJoinTokenLife = time.Hour

// CreateTenant makes a tenant.
func (a api) CreateTenant(ctx context.Context, r openapi.CreateTenantRequestObject) (openapi.CreateTenantResponseObject, error) {
	quota := husk.DefaultQuota
	if r.Body.Quota != nil {
		quota = changeQuota(*r.Body.Quota)(quota)
	}
	t, err := a.store.CreateTenant(ctx, requestOf(ctx).idempotency(r.Params.IdempotencyKey), r.Body.Name, quota)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Tenant](t)
	return openapi.CreateTenant201JSONResponse{Body: body, Headers: openapi.CreateTenant201ResponseHeaders{ETag: tag(t)}}, err
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
	body, err := openapi.Recast[openapi.Tenant](t)
	return openapi.GetTenant200JSONResponse{Body: body, Headers: openapi.GetTenant200ResponseHeaders{ETag: tag(t)}}, err
}

// UpdateTenant changes a tenant's quota.
func (a api) UpdateTenant(ctx context.Context, r openapi.UpdateTenantRequestObject) (openapi.UpdateTenantResponseObject, error) {
	t, err := a.store.SetQuota(ctx, r.TenantID, changeQuota(r.Body.Quota))
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Tenant](t)
	return openapi.UpdateTenant200JSONResponse{Body: body, Headers: openapi.UpdateTenant200ResponseHeaders{ETag: tag(t)}}, err
}

// DeleteTenant removes a tenant that owns nothing.
func (a api) DeleteTenant(ctx context.Context, r openapi.DeleteTenantRequestObject) (openapi.DeleteTenantResponseObject, error) {
	return openapi.DeleteTenant204Response{}, a.store.DeleteTenant(ctx, r.TenantID)
}

// defaultAccount is the service account of a key for which an operator names none.
const defaultAccount = "owner"

// CreateAPIKey makes an API key for a tenant's owner and shows its secret.
func (a api) CreateAPIKey(ctx context.Context, r openapi.CreateAPIKeyRequestObject) (openapi.CreateAPIKeyResponseObject, error) {
	account := defaultAccount
	if r.Body.ServiceAccount != nil {
		account = *r.Body.ServiceAccount
	}
	idem := requestOf(ctx).idempotency(r.Params.IdempotencyKey)
	key, err := a.store.CreateTenantKey(ctx, r.TenantID, idem, account, store.KeyOrder{
		Name: r.Body.Name, Life: lifeOf(r.Body.ExpiresInSeconds), LimitedTo: husk.KeyLimit(valueOf(r.Body.LimitedTo)),
	})
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
	body, err := openapi.Recast[openapi.Node](n)
	return openapi.GetNode200JSONResponse{Body: body, Headers: openapi.GetNode200ResponseHeaders{ETag: tag(n.NodeSettings)}}, err
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
	token, err := a.store.CreateJoinToken(ctx, requestOf(ctx).idempotency(r.Params.IdempotencyKey), life, r.Body.NodeID)
	if err != nil {
		return nil, err
	}
	return openapi.CreateJoinToken201JSONResponse{Token: pki.NewJoinToken(token.Secret, a.authority.Root()), ExpiresAt: token.ExpiresAt}, nil
}

// changeQuota sets the limits that are given and leaves the others.
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
			{c.Snapshots, &q.Snapshots},
			{c.Networks, &q.Networks},
			{c.Addresses, &q.Addresses},
			{c.Images, &q.Images},
			{c.RequestsPerSecond, &q.RequestsPerSecond},
			{c.Priority, &q.Priority},
		} {
			if limit.from != nil {
				*limit.to = *limit.from
			}
		}
		return q
	}
}

// ListSigningKeys lists the keys that sign tokens.
func (a api) ListSigningKeys(ctx context.Context, _ openapi.ListSigningKeysRequestObject) (openapi.ListSigningKeysResponseObject, error) {
	keys, err := a.tokens.current(ctx)
	if err != nil {
		return nil, err
	}
	out := openapi.ListSigningKeys200JSONResponse{Items: []openapi.SigningKey{}}
	for _, k := range keys {
		out.Items = append(out.Items, shownKey(k, keys))
	}
	return out, nil
}

// RotateSigningKey makes a new key that signs.
func (a api) RotateSigningKey(ctx context.Context, r openapi.RotateSigningKeyRequestObject) (openapi.RotateSigningKeyResponseObject, error) {
	key, err := a.store.RotateSigningKey(ctx, requestOf(ctx).idempotency(r.Params.IdempotencyKey), keyPublishedFor, makeSigningKey)
	if err != nil {
		return nil, err
	}
	return openapi.RotateSigningKey201JSONResponse(shownKey(key, []store.SigningKey{key})), nil
}

// DeleteSigningKey removes a key that has leaked.
func (a api) DeleteSigningKey(ctx context.Context, r openapi.DeleteSigningKeyRequestObject) (openapi.DeleteSigningKeyResponseObject, error) {
	return openapi.DeleteSigningKey204Response{}, a.store.DeleteSigningKey(ctx, r.Kid)
}

func shownKey(k store.SigningKey, all []store.SigningKey) openapi.SigningKey {
	state := openapi.Retired
	switch now := time.Now(); {
	case k.SignsFrom.After(now):
		state = openapi.Published
	case signing(all, now).ID == k.ID:
		state = openapi.Signing
	}
	return openapi.SigningKey{Kid: k.ID, State: state, CreatedAt: k.CreatedAt}
}
