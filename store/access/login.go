// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/admission"
	"husk/store/db"
	"husk/store/pgerr"
)

// InsertUser stores a new user. Codes: name_taken, quota_exceeded.
func InsertUser(ctx context.Context, q *db.Queries, tenantID uuid.UUID, user husk.User) (db.User, error) {
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

// ErrWhichTenant is the error for a login that gives access to several tenants and names none.
var ErrWhichTenant = errors.New("the login gives access to several tenants")

// ChooseTenant returns the tenant that a person logs in to: the given one, or the only one that the person has access to. Codes: unauthenticated;
// and ErrWhichTenant.
func ChooseTenant(ctx context.Context, q *db.Queries, l husk.Login, tenantID *uuid.UUID) (uuid.UUID, error) {
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

// LogIn records the login of a user. It creates the user at the first login that a role mapping allows.
func LogIn(ctx context.Context, q *db.Queries, l husk.Login, in uuid.UUID, refused *husk.Error) (db.User, error) {
	role := l.RoleIn(in)
	user, err := q.FindUser(ctx, db.FindUserParams{TenantID: in, Issuer: l.Issuer, Subject: &l.Subject, VerifiedEmail: l.VerifiedEmail})
	if errors.Is(err, pgx.ErrNoRows) {
		if role == "" {
			return user, refused
		}
		now := time.Now()
		return InsertUser(ctx, q, in, husk.User{
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
