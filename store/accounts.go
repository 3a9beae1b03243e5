// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/access"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/pgerr"
	"husk/store/repeats"
)

// KeyRequest describes the API key to create.
type KeyRequest = access.KeyRequest

// CreateServiceAccount creates a service account without keys. Codes: name_taken, quota_exceeded, idempotency_mismatch.
func (t Tenant) CreateServiceAccount(ctx context.Context, idem Idempotency, name string, role husk.Role) (husk.ServiceAccount, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.ServiceAccount, error) {
		if _, err := q.LockTenant(ctx, t.id); err != nil {
			return husk.ServiceAccount{}, pgerr.NotFound(err, "tenant")
		}
		return repeats.Once(ctx, q, t.id, idem, func() (ID, husk.ServiceAccount, error) {
			row, err := access.InsertServiceAccount(ctx, q, t.id, name, role)
			if err != nil {
				return uuid.Nil, husk.ServiceAccount{}, err
			}
			return row.ID, convert.ServiceAccount(row), audit(ctx, q, t.id, "serviceAccount", row.ID.String())
		}, func(id ID) (husk.ServiceAccount, error) {
			row, err := q.ServiceAccount(ctx, db.ServiceAccountParams{TenantID: t.id, ID: id})
			return convert.ServiceAccount(row), err
		})
	})
}

// ServiceAccount returns a service account. Codes: not_found.
func (t Tenant) ServiceAccount(ctx context.Context, id ID) (husk.ServiceAccount, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.ServiceAccount, error) {
		row, err := q.ServiceAccount(ctx, db.ServiceAccountParams{TenantID: t.id, ID: id})
		return convert.ServiceAccount(row), pgerr.NotFound(err, "service account")
	})
}

// ServiceAccounts lists the tenant's service accounts, oldest first. Codes: invalid (cursor).
func (t Tenant) ServiceAccounts(ctx context.Context, page Page) ([]husk.ServiceAccount, string, error) {
	return tenantPage(ctx, t, page, func(q *db.Queries, after cursor.Position, limit int) ([]db.ServiceAccount, error) {
		return q.ServiceAccounts(ctx, db.ServiceAccountsParams{TenantID: t.id, AfterTime: after.At, AfterID: after.ID, Max: limit})
	}, convert.ServiceAccount, func(a husk.ServiceAccount) (time.Time, ID) { return a.CreatedAt, a.ID })
}

// SetServiceAccountRole changes a role. Tokens with the old role are refused from then on. Codes: not_found,
// precondition_failed, last_owner.
func (t Tenant) SetServiceAccountRole(ctx context.Context, id ID, role husk.Role) (husk.ServiceAccount, error) {
	return inTenant(ctx, t, func(q *db.Queries) (account husk.ServiceAccount, err error) {
		err = access.KeepOwner(ctx, q, t.id, func() error {
			if err := lockServiceAccount(ctx, q, t.id, id); err != nil {
				return err
			}
			row, err := q.SetServiceAccountRole(ctx, db.SetServiceAccountRoleParams{TenantID: t.id, ID: id, Role: role})
			if err != nil {
				return err
			}
			account = convert.ServiceAccount(row)
			return audit(ctx, q, t.id, "serviceAccount", id.String())
		})
		return account, err
	})
}

// DeleteServiceAccount removes a service account and its keys. Codes: not_found, precondition_failed, last_owner.
func (t Tenant) DeleteServiceAccount(ctx context.Context, id ID) error {
	return t.changeAccess(ctx, func(q *db.Queries) error {
		if err := lockServiceAccount(ctx, q, t.id, id); err != nil {
			return err
		}
		if err := q.DeleteServiceAccount(ctx, db.DeleteServiceAccountParams{TenantID: t.id, ID: id}); err != nil {
			return err
		}
		return audit(ctx, q, t.id, "serviceAccount", id.String())
	})
}

// changeAccess runs a change after which the tenant still has an owner. Codes: last_owner.
func (t Tenant) changeAccess(ctx context.Context, change func(q *db.Queries) error) error {
	return tenantDo(ctx, t, func(q *db.Queries) error {
		return access.KeepOwner(ctx, q, t.id, func() error { return change(q) })
	})
}

func lockServiceAccount(ctx context.Context, q *db.Queries, tenantID, id ID) error {
	row, err := q.LockServiceAccount(ctx, db.LockServiceAccountParams{TenantID: tenantID, ID: id})
	if err != nil {
		return pgerr.NotFound(err, "service account")
	}
	return ifMatch(ctx, convert.ServiceAccount(row))
}

// CreateAPIKey creates a key of a service account and returns it with its secret. The database keeps a hash of the secret, and the
// sealed secret for one day in case the request is repeated. Codes: not_found, quota_exceeded, idempotency_mismatch.
func (t Tenant) CreateAPIKey(ctx context.Context, account ID, idem Idempotency, order KeyRequest) (husk.APIKey, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.APIKey, error) {
		if _, err := q.LockTenant(ctx, t.id); err != nil {
			return husk.APIKey{}, pgerr.NotFound(err, "tenant")
		}
		if _, err := q.ServiceAccount(ctx, db.ServiceAccountParams{TenantID: t.id, ID: account}); err != nil {
			return husk.APIKey{}, pgerr.NotFound(err, "service account")
		}
		return repeats.OnceSealed(ctx, q, &t.keys, t.id, idem, func() (ID, husk.APIKey, error) {
			return insertAPIKey(ctx, q, t.id, account, order)
		})
	})
}

func insertAPIKey(ctx context.Context, q *db.Queries, tenantID, account ID, order KeyRequest) (ID, husk.APIKey, error) {
	key, err := access.InsertAPIKey(ctx, q, tenantID, account, order)
	if err != nil {
		return uuid.Nil, key, err
	}
	return key.ClientID, key, audit(ctx, q, tenantID, "apiKey", key.ClientID.String())
}

// APIKeys lists a service account's keys, oldest first. Codes: not_found.
func (t Tenant) APIKeys(ctx context.Context, account ID) ([]husk.APIKey, error) {
	return inTenant(ctx, t, func(q *db.Queries) ([]husk.APIKey, error) {
		if _, err := q.ServiceAccount(ctx, db.ServiceAccountParams{TenantID: t.id, ID: account}); err != nil {
			return nil, pgerr.NotFound(err, "service account")
		}
		rows, err := q.APIKeys(ctx, db.APIKeysParams{TenantID: t.id, ServiceAccountID: &account})
		return convert.All(rows, convert.APIKey), err
	})
}

// DeleteAPIKey revokes a key at once, together with every token that was issued for it. Codes: not_found, last_owner.
func (t Tenant) DeleteAPIKey(ctx context.Context, account, clientID ID) error {
	return t.changeAccess(ctx, func(q *db.Queries) error {
		return deleteAPIKey(ctx, q, t.id, &account, clientID)
	})
}

func deleteAPIKey(ctx context.Context, q *db.Queries, tenantID ID, account *ID, clientID ID) error {
	if err := access.DeleteAPIKey(ctx, q, tenantID, account, clientID); err != nil {
		return err
	}
	return audit(ctx, q, tenantID, "apiKey", clientID.String())
}

// CreateTenantKey creates a key of an owner, for the named service account or for one that it chooses. If there is no such account, it creates
// one with the role owner. This is how a tenant gets its first owner, and gets one back. Codes: not_found (tenant), conflict (the account is
// no owner), quota_exceeded, idempotency_mismatch.
func (c Control) CreateTenantKey(ctx context.Context, tenantID ID, idem Idempotency, account string, order KeyRequest) (husk.APIKey, error) {
	return inControl(ctx, c, func(q *db.Queries) (husk.APIKey, error) {
		if _, err := q.LockTenant(ctx, tenantID); err != nil {
			return husk.APIKey{}, pgerr.NotFound(err, "tenant")
		}
		return repeats.OnceSealed(ctx, q, &c.keys, tenantID, idem, func() (ID, husk.APIKey, error) {
			row, err := access.OwnersAccount(ctx, q, tenantID, account)
			if err != nil {
				return uuid.Nil, husk.APIKey{}, err
			}
			return insertAPIKey(ctx, q, tenantID, row.ID, order)
		})
	})
}

// TenantKeys lists all API keys of a tenant, for an operator. Codes: not_found (tenant).
func (c Control) TenantKeys(ctx context.Context, tenantID ID) ([]husk.APIKey, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]husk.APIKey, error) {
		if _, err := tenant(ctx, q, tenantID); err != nil {
			return nil, err
		}
		rows, err := q.APIKeys(ctx, db.APIKeysParams{TenantID: tenantID})
		return convert.All(rows, convert.APIKey), err
	})
}

// DeleteTenantKey revokes any API key of a tenant, also the last one of an owner. Only operators do this, and they can create another one. Codes: not_found.
func (c Control) DeleteTenantKey(ctx context.Context, tenantID, clientID ID) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		return deleteAPIKey(ctx, q, tenantID, nil, clientID)
	})
}

// ForgetExpiredKeys deletes API keys that expired at least 30 days ago and returns how many.
func (c Control) ForgetExpiredKeys(ctx context.Context) (int64, error) {
	return inControl(ctx, c, func(q *db.Queries) (int64, error) { return q.ForgetExpiredAPIKeys(ctx) })
}

// EnsureOperator creates the operator's credentials with the given id and secret unless they exist. The first operator comes from the
// server's configuration.
func (c Control) EnsureOperator(ctx context.Context, clientID ID, secret string) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		if err := q.LockOperators(ctx); err != nil {
			return err
		}
		exists, err := q.CredentialExists(ctx, db.CredentialExistsParams{ClientID: clientID, Kind: husk.CallerOperator})
		if err != nil || exists {
			return err
		}
		return q.InsertCredential(ctx, db.InsertCredentialParams{
			ClientID: clientID, Kind: husk.CallerOperator, Name: "first-operator", SecretHash: access.Hash(secret),
		})
	})
}

// OperatorExists reports whether an operator's credentials still exist.
func (c Control) OperatorExists(ctx context.Context, clientID ID) (bool, error) {
	return inControl(ctx, c, func(q *db.Queries) (bool, error) {
		return q.CredentialExists(ctx, db.CredentialExistsParams{ClientID: clientID, Kind: husk.CallerOperator})
	})
}

// keyUseKept is the precision of a key's last use. A write for every issued token would cost more than it is worth.
const keyUseKept = time.Minute

// Authenticate returns the caller that a client id and a secret belong to. Codes: unauthenticated (an unknown id, a wrong secret and an
// expired key give the same error).
func (c Control) Authenticate(ctx context.Context, clientID ID, secret string) (husk.Caller, error) {
	hash := access.Hash(secret)
	return inControl(ctx, c, func(q *db.Queries) (husk.Caller, error) {
		key, err := q.UseAPIKey(ctx, db.UseAPIKeyParams{ClientID: clientID, SecretHash: hash})
		if err == nil {
			if key.LastUsedAt == nil || time.Since(*key.LastUsedAt) > keyUseKept {
				err = q.TouchAPIKey(ctx, db.TouchAPIKeyParams{TenantID: key.TenantID, ClientID: clientID})
			}
			return husk.Caller{
				Kind: husk.CallerTenant, ID: key.ServiceAccountID, KeyID: clientID, Name: key.AccountName, Role: key.Role, Limit: key.LimitedTo, TenantID: key.TenantID,
			}, err
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return husk.Caller{}, err
		}
		row, err := q.UseCredential(ctx, db.UseCredentialParams{ClientID: clientID, SecretHash: hash})
		if errors.Is(err, pgx.ErrNoRows) {
			return husk.Caller{}, husk.Errorf(husk.CodeUnauthenticated, "", "unknown client id or wrong secret")
		}
		if err != nil {
			return husk.Caller{}, err
		}
		return husk.Caller{Kind: row.Kind, ID: row.ClientID, Name: row.Name}, nil
	})
}
