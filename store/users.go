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

// CreateUser invites a user of an issuer, identified by subject or, until the first login, by verified email address. Codes: name_taken,
// quota_exceeded, idempotency_mismatch.
func (t Tenant) CreateUser(ctx context.Context, idem Idempotency, user husk.User) (husk.User, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.User, error) {
		if _, err := q.LockTenant(ctx, t.id); err != nil {
			return husk.User{}, pgerr.NotFound(err, "tenant")
		}
		return repeats.Once(ctx, q, t.id, idem, func() (ID, husk.User, error) {
			row, err := access.InsertUser(ctx, q, t.id, user)
			if err != nil {
				return uuid.Nil, husk.User{}, err
			}
			return row.ID, convert.User(row), audit(ctx, q, t.id, "user", row.ID.String())
		}, func(id ID) (husk.User, error) {
			row, err := q.User(ctx, db.UserParams{TenantID: t.id, ID: id})
			return convert.User(row), err
		})
	})
}

// User returns a user. Codes: not_found.
func (t Tenant) User(ctx context.Context, id ID) (husk.User, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.User, error) {
		row, err := q.User(ctx, db.UserParams{TenantID: t.id, ID: id})
		return convert.User(row), pgerr.NotFound(err, "user")
	})
}

// Users lists the tenant's users, oldest first. Codes: invalid (cursor).
func (t Tenant) Users(ctx context.Context, page Page) ([]husk.User, string, error) {
	return tenantPage(ctx, t, page, func(q *db.Queries, after cursor.Position, limit int) ([]db.User, error) {
		return q.Users(ctx, db.UsersParams{TenantID: t.id, AfterTime: after.At, AfterID: after.ID, Max: limit})
	}, convert.User, func(u husk.User) (time.Time, ID) { return u.CreatedAt, u.ID })
}

// UpdateUser changes a user's role, or disables or enables the user. A role that is set here no longer comes from a mapping. A nil argument
// changes nothing. Codes: not_found, precondition_failed, last_owner.
func (t Tenant) UpdateUser(ctx context.Context, id ID, role *husk.Role, disabled *bool) (husk.User, error) {
	return inTenant(ctx, t, func(q *db.Queries) (user husk.User, err error) {
		err = access.KeepOwner(ctx, q, t.id, func() error {
			row, err := lockUser(ctx, q, t.id, id)
			if err != nil {
				return err
			}
			p := db.UpdateUserParams{TenantID: t.id, ID: id, Role: row.Role, Mapped: row.Mapped, Disabled: row.Disabled}
			if role != nil {
				p.Role, p.Mapped = *role, false
			}
			if disabled != nil {
				p.Disabled = *disabled
			}
			if row, err = q.UpdateUser(ctx, p); err != nil {
				return err
			}
			user = convert.User(row)
			return audit(ctx, q, t.id, "user", id.String())
		})
		return user, err
	})
}

// DeleteUser removes a user. Codes: not_found, precondition_failed, last_owner.
func (t Tenant) DeleteUser(ctx context.Context, id ID) error {
	return t.changeAccess(ctx, func(q *db.Queries) error {
		if _, err := lockUser(ctx, q, t.id, id); err != nil {
			return err
		}
		if err := q.DeleteUser(ctx, db.DeleteUserParams{TenantID: t.id, ID: id}); err != nil {
			return err
		}
		return audit(ctx, q, t.id, "user", id.String())
	})
}

func lockUser(ctx context.Context, q *db.Queries, tenantID, id ID) (db.User, error) {
	row, err := q.LockUser(ctx, db.LockUserParams{TenantID: tenantID, ID: id})
	if err != nil {
		return row, pgerr.NotFound(err, "user")
	}
	return row, ifMatch(ctx, convert.User(row))
}

// TenantByWord returns the id of the tenant with this id or name. Codes: not_found.
func (c Control) TenantByWord(ctx context.Context, word string) (ID, error) {
	return inControl(ctx, c, func(q *db.Queries) (ID, error) {
		row, err := q.TenantByWord(ctx, word)
		return row.ID, pgerr.NotFound(err, "tenant")
	})
}

// IssuersOf returns the trusted issuers that an ID token of this issuer can match: those of the installation and, if a tenant is given,
// those of the tenant.
func (c Control) IssuersOf(ctx context.Context, issuer string, tenantID *ID) ([]husk.OIDCIssuer, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]husk.OIDCIssuer, error) {
		rows, err := q.IssuersOfToken(ctx, db.IssuersOfTokenParams{Issuer: issuer, TenantID: tenantID})
		return convert.All(rows, convert.Issuer), err
	})
}

// ErrWhichTenant is the error for a login that gives access to several tenants and names none.
var ErrWhichTenant = access.ErrWhichTenant

// LogIn logs a person in to a tenant. If no tenant is named, it takes the only one that the person has access to. It creates the user at
// the first login that a role mapping allows. It also returns the tenant's name. Codes: unauthenticated; and ErrWhichTenant.
func (c Control) LogIn(ctx context.Context, l husk.Login, tenantID *ID) (husk.Caller, string, error) {
	type admitted struct {
		caller husk.Caller
		tenant string
	}
	a, err := inControl(ctx, c, func(q *db.Queries) (admitted, error) {
		in, err := access.ChooseTenant(ctx, q, l, tenantID)
		if err != nil {
			return admitted{}, err
		}
		refused := husk.Errorf(husk.CodeUnauthenticated, "", "this identity has no role in that tenant")
		tenant, err := q.LockTenant(ctx, in)
		if errors.Is(err, pgx.ErrNoRows) {
			return admitted{}, refused
		}
		if err != nil {
			return admitted{}, err
		}
		user, err := access.LogIn(ctx, q, l, in, refused)
		if err != nil {
			return admitted{}, err
		}
		caller := husk.Caller{Kind: husk.CallerTenant, ID: user.ID, Name: user.Email, Role: user.Role, TenantID: in}
		if caller.Name == "" {
			caller.Name = *user.Subject
		}
		return admitted{caller, tenant.Name}, audit(asCaller(ctx, caller), q, in, "user", user.ID.String())
	})
	return a.caller, a.tenant, err
}
