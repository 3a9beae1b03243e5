// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/google/uuid"

	"husk/openapi"
)

// ServiceAccounts are identities of programs. Each has a role in the tenant and up to 20 API keys.
type ServiceAccounts struct{ c *Client }

// Create creates a service account. It has no API key yet.
func (s ServiceAccounts) Create(ctx context.Context, account openapi.ServiceAccountCreate) (openapi.ServiceAccount, error) {
	return Decode[openapi.ServiceAccount](s.c.api.CreateServiceAccount(ctx, &openapi.CreateServiceAccountParams{IdempotencyKey: newKey()}, account))
}

// Get returns a service account.
func (s ServiceAccounts) Get(ctx context.Context, id uuid.UUID) (openapi.ServiceAccount, error) {
	return Decode[openapi.ServiceAccount](s.c.api.GetServiceAccount(ctx, id))
}

// Find returns a service account by its name or its ID.
func (s ServiceAccounts) Find(ctx context.Context, nameOrID string) (openapi.ServiceAccount, error) {
	if id, ok := ParseID(nameOrID); ok {
		account, err := s.Get(ctx, id)
		if IsNotFound(err) {
			return account, NotFound("service account", nameOrID)
		}
		return account, err
	}
	return FindIn(s.List(ctx), "service account", nameOrID, func(s openapi.ServiceAccount) []string { return []string{s.Name} })
}

// List yields the tenant's service accounts.
func (s ServiceAccounts) List(ctx context.Context) iter.Seq2[openapi.ServiceAccount, error] {
	return pages[openapi.ServiceAccount](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		return s.c.api.ListServiceAccounts(ctx, &openapi.ListServiceAccountsParams{Limit: limit, Cursor: cursor})
	})
}

// SetRole changes the role. The API refuses tokens with the old role from then on.
func (s ServiceAccounts) SetRole(ctx context.Context, id uuid.UUID, role openapi.Role) (openapi.ServiceAccount, error) {
	account, etag, err := decode[openapi.ServiceAccount](s.c.api.GetServiceAccount(ctx, id))
	if err != nil {
		return account, err
	}
	return Decode[openapi.ServiceAccount](s.c.api.UpdateServiceAccount(ctx, id,
		&openapi.UpdateServiceAccountParams{IfMatch: given(etag)}, openapi.ServiceAccountUpdate{Role: role}))
}

// Delete deletes a service account with its keys.
func (s ServiceAccounts) Delete(ctx context.Context, id uuid.UUID) error {
	return done(s.c.api.DeleteServiceAccount(ctx, id, nil))
}

// Keys returns the API keys of a service account, without their secrets.
func (s ServiceAccounts) Keys(ctx context.Context, id uuid.UUID) ([]openapi.APIKey, error) {
	keys, err := Decode[openapi.APIKeyList](s.c.api.ListServiceAccountKeys(ctx, id))
	return keys.Items, err
}

// CreateKey creates an API key. Its secret is in this response and nowhere else.
func (s ServiceAccounts) CreateKey(ctx context.Context, id uuid.UUID, key openapi.APIKeyCreate) (openapi.APIKeyWithSecret, error) {
	return Decode[openapi.APIKeyWithSecret](s.c.api.CreateServiceAccountKey(ctx, id,
		&openapi.CreateServiceAccountKeyParams{IdempotencyKey: newKey()}, key))
}

// DeleteKey deletes an API key. The API refuses its tokens from then on.
func (s ServiceAccounts) DeleteKey(ctx context.Context, id, clientID uuid.UUID) error {
	return done(s.c.api.DeleteServiceAccountKey(ctx, id, clientID))
}
