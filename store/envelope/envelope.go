// SPDX-License-Identifier: Apache-2.0

// Package envelope keeps tenants' secrets at rest, in transactions of package store.
//
// Each tenant has its own key, which seals the tenant's secrets. The database keeps that key wrapped by the master key. The additional
// data of a secret names the tenant and the owner of the secret. With a new master key, only the tenants' keys are wrapped again; the
// secrets themselves do not change.
package envelope

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"husk/store/db"
	"husk/store/seal"
)

// Keys seals and opens the secrets of tenants and of the platform, which is the tenant with the nil ID.
type Keys struct {
	Master *seal.Sealer

	mu   sync.Mutex
	byID map[uuid.UUID]*seal.Sealer // the unwrapped keys
}

func wrapOwner(tenant uuid.UUID) string { return "key of tenant " + tenant.String() }

// Create creates and wraps the key of a new tenant.
func (k *Keys) Create(ctx context.Context, q *db.Queries, tenant uuid.UUID) error {
	key := make([]byte, seal.KeySize)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	return q.InsertTenantKey(ctx, db.InsertTenantKeyParams{TenantID: tenant, MasterID: k.Master.ID, Wrapped: k.Master.Seal(key, wrapOwner(tenant))})
}

// of returns the sealer of a tenant. q may run as husk_tenant or as husk_control.
func (k *Keys) of(ctx context.Context, q *db.Queries, tenant uuid.UUID) (*seal.Sealer, error) {
	if tenant == uuid.Nil {
		return k.Master, nil
	}
	k.mu.Lock()
	known := k.byID[tenant]
	k.mu.Unlock()
	if known != nil {
		return known, nil
	}
	row, err := q.TenantKey(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("key of tenant %s: %w", tenant, err)
	}
	key, err := k.Master.Open(row.Wrapped, wrapOwner(tenant))
	if err != nil {
		return nil, fmt.Errorf("key of tenant %s: %w", tenant, err)
	}
	opened, err := seal.New(key)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byID == nil {
		k.byID = map[uuid.UUID]*seal.Sealer{}
	}
	k.byID[tenant] = opened
	return opened, nil
}

// Seal seals a secret of a tenant.
func (k *Keys) Seal(ctx context.Context, q *db.Queries, tenant uuid.UUID, plain []byte, owner string) ([]byte, error) {
	sealer, err := k.of(ctx, q, tenant)
	if err != nil {
		return nil, err
	}
	return sealer.Seal(plain, tenant.String()+" "+owner), nil
}

// Open opens a secret of a tenant. Secrets that were stored before tenants had their own keys are sealed with the master key.
func (k *Keys) Open(ctx context.Context, q *db.Queries, tenant uuid.UUID, sealed []byte, owner string) ([]byte, error) {
	sealer, err := k.of(ctx, q, tenant)
	if err != nil {
		return nil, err
	}
	plain, err := sealer.Open(sealed, tenant.String()+" "+owner)
	if err != nil {
		if old, e := k.Master.Open(sealed, owner); e == nil {
			return old, nil
		}
	}
	return plain, err
}

// Prepare creates keys for tenants without one, and rewraps keys that are wrapped by a master key other than the first. It returns how many
// it has written; call it until there are none left.
func (k *Keys) Prepare(ctx context.Context, q *db.Queries) (int, error) {
	if err := q.LockOperators(ctx); err != nil {
		return 0, err
	}
	without, err := q.TenantsWithoutKey(ctx)
	if err != nil {
		return 0, err
	}
	for _, tenant := range without {
		if err := k.Create(ctx, q, tenant); err != nil {
			return 0, err
		}
	}
	old, err := q.TenantKeysNotUnder(ctx, k.Master.ID)
	if err != nil {
		return 0, err
	}
	for _, row := range old {
		key, err := k.Master.Open(row.Wrapped, wrapOwner(row.TenantID))
		if err != nil {
			return 0, fmt.Errorf("key of tenant %s: %w", row.TenantID, err)
		}
		if err := q.RewrapTenantKey(ctx, db.RewrapTenantKeyParams{
			TenantID: row.TenantID, MasterID: k.Master.ID, Wrapped: k.Master.Seal(key, wrapOwner(row.TenantID)),
		}); err != nil {
			return 0, err
		}
	}
	return len(without) + len(old), nil
}
