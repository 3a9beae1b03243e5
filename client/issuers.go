// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/google/uuid"

	"husk/openapi"
)

// Issuers are the tenant's own OIDC issuers.
type Issuers struct{ c *Client }

// Create trusts an OIDC issuer for the tenant.
func (i Issuers) Create(ctx context.Context, issuer openapi.OIDCIssuerCreate) (openapi.OIDCIssuer, error) {
	return Decode[openapi.OIDCIssuer](i.c.api.CreateOIDCIssuer(ctx, &openapi.CreateOIDCIssuerParams{IdempotencyKey: newKey()}, issuer))
}

// Get returns an issuer.
func (i Issuers) Get(ctx context.Context, id uuid.UUID) (openapi.OIDCIssuer, error) {
	return Decode[openapi.OIDCIssuer](i.c.api.GetOIDCIssuer(ctx, id))
}

// Find returns an issuer by its name, its URL or its ID.
func (i Issuers) Find(ctx context.Context, name string) (openapi.OIDCIssuer, error) {
	return FindIn(i.List(ctx), "issuer", name, func(i openapi.OIDCIssuer) []string { return []string{i.ID.String(), i.Name, i.Issuer} })
}

// List yields the tenant's issuers.
func (i Issuers) List(ctx context.Context) iter.Seq2[openapi.OIDCIssuer, error] {
	return pages[openapi.OIDCIssuer](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		return i.c.api.ListOIDCIssuers(ctx, &openapi.ListOIDCIssuersParams{Limit: limit, Cursor: cursor})
	})
}

// SetMappings replaces the issuer's role mappings. It fails if somebody else changes the issuer at the same time.
func (i Issuers) SetMappings(ctx context.Context, id uuid.UUID, mappings []openapi.RoleMapping) (openapi.OIDCIssuer, error) {
	issuer, etag, err := decode[openapi.OIDCIssuer](i.c.api.GetOIDCIssuer(ctx, id))
	if err != nil {
		return issuer, err
	}
	return Decode[openapi.OIDCIssuer](i.c.api.UpdateOIDCIssuer(ctx, id,
		&openapi.UpdateOIDCIssuerParams{IfMatch: given(etag)}, openapi.OIDCIssuerUpdate{RoleMappings: mappings}))
}

// Delete removes an issuer: the tenant no longer trusts it.
func (i Issuers) Delete(ctx context.Context, id uuid.UUID) error {
	return done(i.c.api.DeleteOIDCIssuer(ctx, id, nil))
}
