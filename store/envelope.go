// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"crypto/rand"
	"sync"

	"husk/store/db"
	"husk/store/seal"
)

// Envelope encryption: each tenant has its own key, which seals the tenant's secrets. The database keeps that key wrapped by the master
// key. The additional data of a secret names the tenant and the owner of the secret. With a new master key, only the tenants' keys are
// wrapped again; the secrets themselves do not change.

// tenantSeals caches the unwrapped keys.
type tenantSeals struct {
	mu   sync.Mutex
	byID map[ID]*seal.Sealer
}

func wrapOwner(tenantID ID) string { return "key of tenant " + tenantID.String() }

// newTenantKey creates and wraps the key of a new tenant.
func (s *core) newTenantKey(ctx context.Context, q *db.Queries, tenantID ID) error {
	key := make([]byte, seal.KeySize)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	return q.InsertTenantKey(ctx, db.InsertTenantKeyParams{TenantID: tenantID, MasterID: s.seal.ID, Wrapped: s.seal.Seal(key, wrapOwner(tenantID))})
}

// tenantSeal returns the sealer for a tenant's secrets, or for the platform's. q may run as husk_tenant or as husk_control.
func (s *core) tenantSeal(ctx context.Context, q *db.Queries, tenantID ID) (*seal.Sealer, error) {
	if tenantID == platform {
		return s.seal, nil
	}
	s.tenantSeals.mu.Lock()
	known := s.tenantSeals.byID[tenantID]
	s.tenantSeals.mu.Unlock()
	if known != nil {
		return known, nil
	}
	row, err := q.TenantKey(ctx, tenantID)
	if err != nil {
		return nil, wrap(err, "key of tenant %s", tenantID)
	}
	key, err := s.seal.Open(row.Wrapped, wrapOwner(tenantID))
	if err != nil {
		return nil, wrap(err, "key of tenant %s", tenantID)
	}
	opened, err := seal.New(key)
	if err != nil {
		return nil, err
	}
	s.tenantSeals.mu.Lock()
	defer s.tenantSeals.mu.Unlock()
	if s.tenantSeals.byID == nil {
		s.tenantSeals.byID = map[ID]*seal.Sealer{}
	}
	s.tenantSeals.byID[tenantID] = opened
	return opened, nil
}

// sealFor seals a secret of a tenant.
func (s *core) sealFor(ctx context.Context, q *db.Queries, tenantID ID, plain []byte, owner string) ([]byte, error) {
	tenantSeal, err := s.tenantSeal(ctx, q, tenantID)
	if err != nil {
		return nil, err
	}
	return tenantSeal.Seal(plain, tenantID.String()+" "+owner), nil
}

// openFor opens a secret of a tenant. Secrets that were stored before tenants had their own keys are sealed with the master key.
func (s *core) openFor(ctx context.Context, q *db.Queries, tenantID ID, sealed []byte, owner string) ([]byte, error) {
	tenantSeal, err := s.tenantSeal(ctx, q, tenantID)
	if err != nil {
		return nil, err
	}
	plain, err := tenantSeal.Open(sealed, tenantID.String()+" "+owner)
	if err != nil {
		if old, e := s.seal.Open(sealed, owner); e == nil {
			return old, nil
		}
	}
	return plain, err
}

// prepareTenantKeys creates keys for tenants without one, and rewraps keys that are wrapped by a master key other than the first.
func (c Control) prepareTenantKeys(ctx context.Context) error {
	for {
		n, err := inControl(ctx, c, func(q *db.Queries) (int, error) {
			if err := q.LockOperators(ctx); err != nil {
				return 0, err
			}
			without, err := q.TenantsWithoutKey(ctx)
			if err != nil {
				return 0, err
			}
			for _, id := range without {
				if err := c.newTenantKey(ctx, q, id); err != nil {
					return 0, err
				}
			}
			old, err := q.TenantKeysNotUnder(ctx, c.seal.ID)
			if err != nil {
				return 0, err
			}
			for _, k := range old {
				key, err := c.seal.Open(k.Wrapped, wrapOwner(k.TenantID))
				if err != nil {
					return 0, wrap(err, "key of tenant %s", k.TenantID)
				}
				if err := q.RewrapTenantKey(ctx, db.RewrapTenantKeyParams{
					TenantID: k.TenantID, MasterID: c.seal.ID, Wrapped: c.seal.Seal(key, wrapOwner(k.TenantID)),
				}); err != nil {
					return 0, err
				}
			}
			return len(without) + len(old), nil
		})
		if err != nil || n == 0 {
			return err
		}
	}
}
