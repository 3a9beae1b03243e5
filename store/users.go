// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/admission"
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
			row, err := insertUser(ctx, q, t.id, user)
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

func insertUser(ctx context.Context, q *db.Queries, tenantID ID, user husk.User) (db.User, error) {
	n, err := q.CountUsers(ctx, tenantID)
	if err == nil {
		err = admission.Quota("", "users", n, 1, maxUsers)
	}
	if err != nil {
		return db.User{}, err
	}
	p := db.InsertUserParams{
		TenantID: tenantID, ID: uuid.New(), Issuer: user.Issuer, Email: user.Email, Name: user.Name, Role: user.Role, Mapped: user.Mapped,
		LastLoginAt: user.LastLoginAt,
	}
	if user.Subject != "" {
		p.Subject = &user.Subject
	}
	row, err := q.InsertUser(ctx, p)
	if pgerr.UniqueViolation(err, "users_by_subject") || pgerr.UniqueViolation(err, "users_by_invitation") {
		return row, husk.Errorf(husk.CodeNameTaken, "", "the tenant has this user already")
	}
	return row, err
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
// changes nothing. Codes: not_found, precondition_failed.
func (t Tenant) UpdateUser(ctx context.Context, id ID, role *husk.Role, disabled *bool) (husk.User, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.User, error) {
		row, err := lockUser(ctx, q, t.id, id)
		if err != nil {
			return husk.User{}, err
		}
		p := db.UpdateUserParams{TenantID: t.id, ID: id, Role: row.Role, Mapped: row.Mapped, Disabled: row.Disabled}
		if role != nil {
			p.Role, p.Mapped = *role, false
		}
		if disabled != nil {
			p.Disabled = *disabled
		}
		if row, err = q.UpdateUser(ctx, p); err != nil {
			return husk.User{}, err
		}
		return convert.User(row), audit(ctx, q, t.id, "user", id.String())
	})
}

// DeleteUser removes a user. Codes: not_found, precondition_failed.
func (t Tenant) DeleteUser(ctx context.Context, id ID) error {
	return tenantDo(ctx, t, func(q *db.Queries) error {
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
var ErrWhichTenant = errors.New("the login gives access to several tenants")

// LogIn logs a person in to a tenant. If no tenant is named, it takes the only one that the person has access to. It creates the user at
// the first login that a role mapping allows. It also returns the tenant's name. Codes: unauthenticated; and ErrWhichTenant.
func (c Control) LogIn(ctx context.Context, l husk.Login, tenantID *ID) (husk.Caller, string, error) {
	type admitted struct {
		caller husk.Caller
		tenant string
	}
	a, err := inControl(ctx, c, func(q *db.Queries) (admitted, error) {
		in, err := chooseTenant(ctx, q, l, tenantID)
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
		user, err := logIn(ctx, q, l, in, refused)
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

func chooseTenant(ctx context.Context, q *db.Queries, l husk.Login, tenantID *ID) (ID, error) {
	if tenantID != nil {
		return *tenantID, nil
	}
	open := l.MappedTenants()
	known, err := q.TenantsOfUser(ctx, db.TenantsOfUserParams{Issuer: l.Issuer, Subject: &l.Subject, VerifiedEmail: l.VerifiedEmail})
	if err != nil {
		return uuid.Nil, err
	}
	for _, id := range known {
		if !slices.Contains(open, id) {
			open = append(open, id)
		}
	}
	switch len(open) {
	case 0:
		return uuid.Nil, husk.Errorf(husk.CodeUnauthenticated, "", "this identity has no role in any tenant")
	case 1:
		return open[0], nil
	default:
		return uuid.Nil, ErrWhichTenant
	}
}

func logIn(ctx context.Context, q *db.Queries, l husk.Login, in ID, refused *husk.Error) (db.User, error) {
	role := l.RoleIn(in)
	user, err := q.FindUser(ctx, db.FindUserParams{TenantID: in, Issuer: l.Issuer, Subject: &l.Subject, VerifiedEmail: l.VerifiedEmail})
	if errors.Is(err, pgx.ErrNoRows) {
		if role == "" {
			return user, refused
		}
		now := time.Now()
		return insertUser(ctx, q, in, husk.User{
			Issuer: l.Issuer, Subject: l.Subject, Email: l.VerifiedEmail, Name: l.Name, Role: role, Mapped: true, LastLoginAt: &now,
		})
	}
	if err != nil {
		return user, err
	}
	if !user.Mapped {
		role = user.Role
	}
	if user.Disabled || role == "" {
		return user, refused
	}
	email := l.VerifiedEmail
	if email == "" {
		email = user.Email
	}
	return q.LogInUser(ctx, db.LogInUserParams{TenantID: in, ID: user.ID, Subject: &l.Subject, Email: email, Name: l.Name, Role: role})
}
