package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/db"
)

// How much of what costs next to nothing a tenant may have.
const (
	maxServiceAccounts = 200
	maxKeysPerAccount  = 20
	maxUsers           = 10_000
	maxIssuers         = 20
)

func serviceAccountOf(a db.ServiceAccount) husk.ServiceAccount {
	return husk.ServiceAccount{ID: a.ID, Name: a.Name, Role: a.Role, CreatedAt: a.CreatedAt}
}

func apiKeyOf(k db.ApiKey) husk.APIKey {
	return husk.APIKey{
		ClientID: k.ClientID, Name: k.Name, ServiceAccountID: k.ServiceAccountID, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, LastUsedAt: k.LastUsedAt, LimitedTo: k.LimitedTo,
	}
}

// CreateServiceAccount makes a service account without keys. Codes: name_taken, quota_exceeded, idempotency_mismatch.
func (s *Store) CreateServiceAccount(ctx context.Context, tenantID ID, idem Idempotency, name string, role husk.Role) (husk.ServiceAccount, error) {
	return inTenant(ctx, s, tenantID, func(q *db.Queries) (husk.ServiceAccount, error) {
		if _, err := q.LockTenant(ctx, tenantID); err != nil {
			return husk.ServiceAccount{}, orNotFound(err, "tenant")
		}
		return creating(ctx, q, tenantID, idem, func() (ID, husk.ServiceAccount, error) {
			row, err := insertServiceAccount(ctx, q, tenantID, name, role)
			if err != nil {
				return uuid.Nil, husk.ServiceAccount{}, err
			}
			return row.ID, serviceAccountOf(row), audit(ctx, q, tenantID, "serviceAccount", row.ID.String())
		})
	})
}

func insertServiceAccount(ctx context.Context, q *db.Queries, tenantID ID, name string, role husk.Role) (db.ServiceAccount, error) {
	n, err := q.CountServiceAccounts(ctx, tenantID)
	if err == nil {
		err = checkQuota("", "service accounts", n, 1, maxServiceAccounts)
	}
	if err != nil {
		return db.ServiceAccount{}, err
	}
	row, err := q.InsertServiceAccount(ctx, db.InsertServiceAccountParams{TenantID: tenantID, ID: uuid.New(), Name: name, Role: role})
	if uniqueViolation(err, "service_accounts_tenant_id_name_key") {
		return row, husk.Errorf(husk.CodeNameTaken, "name", "a service account named %q exists already", name)
	}
	return row, err
}

// ServiceAccount returns a service account. Codes: not_found.
func (s *Store) ServiceAccount(ctx context.Context, tenantID, id ID) (husk.ServiceAccount, error) {
	return inTenant(ctx, s, tenantID, func(q *db.Queries) (husk.ServiceAccount, error) {
		row, err := q.ServiceAccount(ctx, db.ServiceAccountParams{TenantID: tenantID, ID: id})
		return serviceAccountOf(row), orNotFound(err, "service account")
	})
}

// ServiceAccounts lists, oldest first. Codes: invalid (cursor).
func (s *Store) ServiceAccounts(ctx context.Context, tenantID ID, page Page) ([]husk.ServiceAccount, string, error) {
	l, err := inTenant(ctx, s, tenantID, func(q *db.Queries) (l list[husk.ServiceAccount], err error) {
		l.items, l.next, err = paged(page, func(after position, limit int) ([]db.ServiceAccount, error) {
			return q.ServiceAccounts(ctx, db.ServiceAccountsParams{TenantID: tenantID, AfterTime: after.at, AfterID: after.id, Max: limit})
		}, serviceAccountOf, func(a husk.ServiceAccount) (time.Time, ID) { return a.CreatedAt, a.ID })
		return l, err
	})
	return l.items, l.next, err
}

// SetServiceAccountRole changes a role; tokens with the old one are refused. Codes: not_found, precondition_failed.
func (s *Store) SetServiceAccountRole(ctx context.Context, tenantID, id ID, role husk.Role) (husk.ServiceAccount, error) {
	return inTenant(ctx, s, tenantID, func(q *db.Queries) (husk.ServiceAccount, error) {
		if err := lockServiceAccount(ctx, q, tenantID, id); err != nil {
			return husk.ServiceAccount{}, err
		}
		row, err := q.SetServiceAccountRole(ctx, db.SetServiceAccountRoleParams{TenantID: tenantID, ID: id, Role: role})
		if err != nil {
			return husk.ServiceAccount{}, err
		}
		return serviceAccountOf(row), audit(ctx, q, tenantID, "serviceAccount", id.String())
	})
}

// DeleteServiceAccount removes a service account and its keys. Codes: not_found, precondition_failed.
func (s *Store) DeleteServiceAccount(ctx context.Context, tenantID, id ID) error {
	_, err := inTenant(ctx, s, tenantID, func(q *db.Queries) (struct{}, error) {
		if err := lockServiceAccount(ctx, q, tenantID, id); err != nil {
			return struct{}{}, err
		}
		if err := q.DeleteServiceAccount(ctx, db.DeleteServiceAccountParams{TenantID: tenantID, ID: id}); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, audit(ctx, q, tenantID, "serviceAccount", id.String())
	})
	return err
}

func lockServiceAccount(ctx context.Context, q *db.Queries, tenantID, id ID) error {
	row, err := q.LockServiceAccount(ctx, db.LockServiceAccountParams{TenantID: tenantID, ID: id})
	if err != nil {
		return orNotFound(err, "service account")
	}
	return ifMatch(ctx, serviceAccountOf(row))
}

// KeyOrder is what an API key should be.
type KeyOrder struct {
	Name      string
	Life      time.Duration // 0 for one that is good until it is deleted
	LimitedTo husk.KeyLimit // empty for one that may do what the role may
}

// CreateAPIKey makes a key of a service account and returns it with its secret, which is kept as a hash, and sealed for a day in case
// the request is repeated. Codes: not_found, quota_exceeded, idempotency_mismatch.
func (s *Store) CreateAPIKey(ctx context.Context, tenantID, account ID, idem Idempotency, order KeyOrder) (husk.APIKey, error) {
	return inTenant(ctx, s, tenantID, func(q *db.Queries) (husk.APIKey, error) {
		if _, err := q.LockTenant(ctx, tenantID); err != nil {
			return husk.APIKey{}, orNotFound(err, "tenant")
		}
		if _, err := q.ServiceAccount(ctx, db.ServiceAccountParams{TenantID: tenantID, ID: account}); err != nil {
			return husk.APIKey{}, orNotFound(err, "service account")
		}
		return creatingSecret(ctx, s, q, tenantID, idem, func() (ID, husk.APIKey, error) {
			return insertAPIKey(ctx, q, tenantID, account, order)
		})
	})
}

func insertAPIKey(ctx context.Context, q *db.Queries, tenantID, account ID, order KeyOrder) (ID, husk.APIKey, error) {
	id, secret := uuid.New(), NewSecret()
	n, err := q.CountAPIKeys(ctx, db.CountAPIKeysParams{TenantID: tenantID, ServiceAccountID: account})
	if err == nil {
		err = checkQuota("", "API keys per service account", n, 1, maxKeysPerAccount)
	}
	if err != nil {
		return id, husk.APIKey{}, err
	}
	p := db.InsertAPIKeyParams{TenantID: tenantID, ClientID: id, ServiceAccountID: account, Name: order.Name, SecretHash: hashSecret(secret), LimitedTo: order.LimitedTo}
	if order.Life > 0 {
		expires := time.Now().Add(order.Life)
		p.ExpiresAt = &expires
	}
	row, err := q.InsertAPIKey(ctx, p)
	if err != nil {
		return id, husk.APIKey{}, err
	}
	key := apiKeyOf(row)
	key.Secret = secret
	return id, key, audit(ctx, q, tenantID, "apiKey", id.String())
}

// APIKeys lists a service account's keys, oldest first. Codes: not_found.
func (s *Store) APIKeys(ctx context.Context, tenantID, account ID) ([]husk.APIKey, error) {
	return inTenant(ctx, s, tenantID, func(q *db.Queries) ([]husk.APIKey, error) {
		if _, err := q.ServiceAccount(ctx, db.ServiceAccountParams{TenantID: tenantID, ID: account}); err != nil {
			return nil, orNotFound(err, "service account")
		}
		rows, err := q.APIKeys(ctx, db.APIKeysParams{TenantID: tenantID, ServiceAccountID: &account})
		return convertAll(rows, apiKeyOf), err
	})
}

// DeleteAPIKey revokes a key at once, with every token that came from it. Codes: not_found.
func (s *Store) DeleteAPIKey(ctx context.Context, tenantID, account, clientID ID) error {
	_, err := inTenant(ctx, s, tenantID, func(q *db.Queries) (struct{}, error) {
		return struct{}{}, deleteAPIKey(ctx, q, tenantID, &account, clientID)
	})
	return err
}

func deleteAPIKey(ctx context.Context, q *db.Queries, tenantID ID, account *ID, clientID ID) error {
	row, err := q.LockAPIKey(ctx, db.LockAPIKeyParams{TenantID: tenantID, ClientID: clientID})
	if err == nil && account != nil && row.ServiceAccountID != *account {
		err = pgx.ErrNoRows
	}
	if err != nil {
		return orNotFound(err, "API key")
	}
	if err := q.DeleteAPIKey(ctx, db.DeleteAPIKeyParams{TenantID: tenantID, ClientID: clientID}); err != nil {
		return err
	}
	return audit(ctx, q, tenantID, "apiKey", clientID.String())
}

// CreateTenantKey makes a key for a service account that is named, and the account as an owner if it is not there: the way in for a
// tenant's first owner. Codes: not_found (tenant), quota_exceeded, idempotency_mismatch.
func (s *Store) CreateTenantKey(ctx context.Context, tenantID ID, idem Idempotency, account string, order KeyOrder) (husk.APIKey, error) {
	return inControl(ctx, s, func(q *db.Queries) (husk.APIKey, error) {
		if _, err := q.LockTenant(ctx, tenantID); err != nil {
			return husk.APIKey{}, orNotFound(err, "tenant")
		}
		return creatingSecret(ctx, s, q, tenantID, idem, func() (ID, husk.APIKey, error) {
			row, err := q.ServiceAccountByName(ctx, db.ServiceAccountByNameParams{TenantID: tenantID, Name: account})
			if errors.Is(err, pgx.ErrNoRows) {
				row, err = insertServiceAccount(ctx, q, tenantID, account, husk.RoleOwner)
			}
			if err != nil {
				return uuid.Nil, husk.APIKey{}, err
			}
			return insertAPIKey(ctx, q, tenantID, row.ID, order)
		})
	})
}

// TenantKeys lists all API keys of a tenant, for an operator. Codes: not_found (tenant).
func (s *Store) TenantKeys(ctx context.Context, tenantID ID) ([]husk.APIKey, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]husk.APIKey, error) {
		if _, err := tenant(ctx, q, tenantID); err != nil {
			return nil, err
		}
		rows, err := q.APIKeys(ctx, db.APIKeysParams{TenantID: tenantID})
		return convertAll(rows, apiKeyOf), err
	})
}

// DeleteTenantKey revokes any API key of a tenant, for an operator. Codes: not_found.
func (s *Store) DeleteTenantKey(ctx context.Context, tenantID, clientID ID) error {
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) {
		return struct{}{}, deleteAPIKey(ctx, q, tenantID, nil, clientID)
	})
	return err
}

// ForgetExpiredKeys removes API keys that expired 30 days ago and returns how many.
func (s *Store) ForgetExpiredKeys(ctx context.Context) (int64, error) {
	return inControl(ctx, s, func(q *db.Queries) (int64, error) { return q.ForgetExpiredAPIKeys(ctx) })
}
