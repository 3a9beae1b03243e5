// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/admission"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/pgerr"
	"husk/store/seal"
)

// Fixed limits for objects that are so small that the quota does not limit them.
const (
	maxServiceAccounts = 200
	maxKeysPerAccount  = 20
	maxUsers           = 10_000
)

// KeyRequest describes the API key to create.
type KeyRequest struct {
	Name      string
	Life      time.Duration // 0 for a key that is valid until it is deleted
	LimitedTo husk.KeyLimit // empty for a key with all permissions of the role
}

// InsertServiceAccount stores a new service account. Codes: name_taken, quota_exceeded.
func InsertServiceAccount(ctx context.Context, q *db.Queries, tenantID uuid.UUID, name string, role husk.Role) (db.ServiceAccount, error) {
	n, err := q.CountServiceAccounts(ctx, tenantID)
	if err == nil {
		err = admission.Quota("", "service accounts", n, 1, maxServiceAccounts)
	}
	if err != nil {
		return db.ServiceAccount{}, err
	}
	row, err := q.InsertServiceAccount(ctx, db.InsertServiceAccountParams{TenantID: tenantID, ID: uuid.New(), Name: name, Role: role})
	if pgerr.UniqueViolation(err, "service_accounts_tenant_id_name_key") {
		return row, husk.Errorf(husk.CodeNameTaken, "name", "a service account named %q exists already", name)
	}
	return row, err
}

// firstOwner is the name of the owner's service account if the operator names none.
const firstOwner = "owner"

// OwnersAccount returns the service account with this name for a key of an owner, and creates it if it does not exist. Without a name, it is
// "owner", or "owner-2" and so on if an account with this name is no owner or has as many keys as an account can have. Codes: conflict,
// quota_exceeded.
func OwnersAccount(ctx context.Context, q *db.Queries, tenantID uuid.UUID, name string) (db.ServiceAccount, error) {
	for n := 1; ; n++ {
		wanted := name
		if name == "" {
			wanted = firstOwner
			if n > 1 {
				wanted = fmt.Sprintf("%s-%d", firstOwner, n)
			}
		}
		row, err := q.ServiceAccountByName(ctx, db.ServiceAccountByNameParams{TenantID: tenantID, Name: wanted})
		if errors.Is(err, pgx.ErrNoRows) {
			return InsertServiceAccount(ctx, q, tenantID, wanted, husk.RoleOwner)
		}
		if err != nil {
			return row, err
		}
		if name == "" {
			keys, err := q.CountAPIKeys(ctx, db.CountAPIKeysParams{TenantID: tenantID, ServiceAccountID: row.ID})
			if err != nil {
				return row, err
			}
			if row.Role != husk.RoleOwner || keys >= maxKeysPerAccount {
				continue // there are at most maxServiceAccounts
			}
		}
		if row.Role != husk.RoleOwner {
			return row, husk.Errorf(husk.CodeConflict, "serviceAccount",
				"the service account %q has the role %s, so this key would not be an owner's; name another account, or none", wanted, row.Role)
		}
		return row, nil
	}
}

// InsertAPIKey stores a new key of a service account. It returns the key with its secret. Codes: quota_exceeded.
func InsertAPIKey(ctx context.Context, q *db.Queries, tenantID, account uuid.UUID, r KeyRequest) (husk.APIKey, error) {
	id, secret := uuid.New(), seal.NewSecret()
	n, err := q.CountAPIKeys(ctx, db.CountAPIKeysParams{TenantID: tenantID, ServiceAccountID: account})
	if err == nil {
		err = admission.Quota("", "API keys per service account", n, 1, maxKeysPerAccount)
	}
	if err != nil {
		return husk.APIKey{}, err
	}
	p := db.InsertAPIKeyParams{TenantID: tenantID, ClientID: id, ServiceAccountID: account, Name: r.Name, SecretHash: Hash(secret), LimitedTo: r.LimitedTo}
	if r.Life > 0 {
		expires := time.Now().Add(r.Life)
		p.ExpiresAt = &expires
	}
	row, err := q.InsertAPIKey(ctx, p)
	if err != nil {
		return husk.APIKey{}, err
	}
	key := convert.APIKey(row)
	key.Secret = secret
	return key, nil
}

// DeleteAPIKey deletes a key; with an account, only if it is a key of that account. Codes: not_found.
func DeleteAPIKey(ctx context.Context, q *db.Queries, tenantID uuid.UUID, account *uuid.UUID, clientID uuid.UUID) error {
	row, err := q.LockAPIKey(ctx, db.LockAPIKeyParams{TenantID: tenantID, ClientID: clientID})
	if err == nil && account != nil && row.ServiceAccountID != *account {
		err = pgx.ErrNoRows
	}
	if err != nil {
		return pgerr.NotFound(err, "API key")
	}
	return q.DeleteAPIKey(ctx, db.DeleteAPIKeyParams{TenantID: tenantID, ClientID: clientID})
}

// Hash returns what the database keeps of a secret.
func Hash(secret string) []byte {
	h := sha256.Sum256([]byte(secret))
	return h[:]
}
