// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/google/uuid"

	"husk/openapi"
)

// Users are people who log in at an OIDC issuer.
type Users struct{ c *Client }

// Create gives a user of an OIDC issuer a role in the tenant.
func (u Users) Create(ctx context.Context, user openapi.UserCreate) (openapi.User, error) {
	return Decode[openapi.User](u.c.api.CreateUser(ctx, &openapi.CreateUserParams{IdempotencyKey: newKey()}, user))
}

// Get returns a user.
func (u Users) Get(ctx context.Context, id uuid.UUID) (openapi.User, error) {
	return Decode[openapi.User](u.c.api.GetUser(ctx, id))
}

// Find returns a user by the email address, the issuer's subject, or the ID.
func (u Users) Find(ctx context.Context, name string) (openapi.User, error) {
	if id, ok := ParseID(name); ok {
		user, err := u.Get(ctx, id)
		if !IsNotFound(err) { // a subject may look like an ID
			return user, err
		}
	}
	return FindIn(u.List(ctx), "user", name, func(u openapi.User) []string {
		return []string{openapi.Value(u.Email), openapi.Value(u.Subject), u.ID.String()}
	})
}

// List yields the tenant's users.
func (u Users) List(ctx context.Context) iter.Seq2[openapi.User, error] {
	return pages[openapi.User](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		return u.c.api.ListUsers(ctx, &openapi.ListUsersParams{Limit: limit, Cursor: cursor})
	})
}

// Update changes a user. It fails if somebody else changes the user at the same time.
func (u Users) Update(ctx context.Context, id uuid.UUID, change openapi.UserUpdate) (openapi.User, error) {
	user, etag, err := decode[openapi.User](u.c.api.GetUser(ctx, id))
	if err != nil {
		return user, err
	}
	return Decode[openapi.User](u.c.api.UpdateUser(ctx, id, &openapi.UpdateUserParams{IfMatch: given(etag)}, change))
}

// Delete deletes a user.
func (u Users) Delete(ctx context.Context, id uuid.UUID) error {
	return done(u.c.api.DeleteUser(ctx, id, nil))
}
