// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/google/uuid"

	"husk/openapi"
)

// Issuers are the OIDC issuers of a tenant, or those of the installation, which operators manage.
type Issuers struct {
	c        *Client
	platform bool
}

// Create trusts an OIDC issuer.
func (i Issuers) Create(ctx context.Context, issuer openapi.OIDCIssuerCreate) (openapi.OIDCIssuer, error) {
	if i.platform {
		return Decode[openapi.OIDCIssuer](i.c.api.AdminCreateOIDCIssuer(ctx, &openapi.AdminCreateOIDCIssuerParams{IdempotencyKey: newKey()}, issuer))
	}
	return Decode[openapi.OIDCIssuer](i.c.api.CreateOIDCIssuer(ctx, &openapi.CreateOIDCIssuerParams{IdempotencyKey: newKey()}, issuer))
}

// Get returns an issuer.
func (i Issuers) Get(ctx context.Context, id uuid.UUID) (openapi.OIDCIssuer, error) {
	return Decode[openapi.OIDCIssuer](i.get(ctx, id))
}

func (i Issuers) get(ctx context.Context, id uuid.UUID) (*http.Response, error) {
	if i.platform {
		return i.c.api.AdminGetOIDCIssuer(ctx, id)
	}
	return i.c.api.GetOIDCIssuer(ctx, id)
}

// Find returns an issuer by its name, its URL or its ID.
func (i Issuers) Find(ctx context.Context, name string) (openapi.OIDCIssuer, error) {
	return FindIn(i.List(ctx), "issuer", name, func(i openapi.OIDCIssuer) []string { return []string{i.ID.String(), i.Name, i.Issuer} })
}

// List yields the issuers.
func (i Issuers) List(ctx context.Context) iter.Seq2[openapi.OIDCIssuer, error] {
	return pages[openapi.OIDCIssuer](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		if i.platform {
			return i.c.api.AdminListOIDCIssuers(ctx, &openapi.AdminListOIDCIssuersParams{Limit: limit, Cursor: cursor})
		}
		return i.c.api.ListOIDCIssuers(ctx, &openapi.ListOIDCIssuersParams{Limit: limit, Cursor: cursor})
	})
}

// SetMappings replaces the issuer's role mappings. It fails if somebody else changes the issuer at the same time.
func (i Issuers) SetMappings(ctx context.Context, id uuid.UUID, mappings []openapi.RoleMapping) (openapi.OIDCIssuer, error) {
	issuer, etag, err := decode[openapi.OIDCIssuer](i.get(ctx, id))
	if err != nil {
		return issuer, err
	}
	if i.platform {
		return Decode[openapi.OIDCIssuer](i.c.api.AdminUpdateOIDCIssuer(ctx, id,
			&openapi.AdminUpdateOIDCIssuerParams{IfMatch: given(etag)}, openapi.OIDCIssuerUpdate{RoleMappings: mappings}))
	}
	return Decode[openapi.OIDCIssuer](i.c.api.UpdateOIDCIssuer(ctx, id,
		&openapi.UpdateOIDCIssuerParams{IfMatch: given(etag)}, openapi.OIDCIssuerUpdate{RoleMappings: mappings}))
}

// Delete removes an issuer, which is no longer trusted then.
func (i Issuers) Delete(ctx context.Context, id uuid.UUID) error {
	if i.platform {
		return done(i.c.api.AdminDeleteOIDCIssuer(ctx, id, nil))
	}
	return done(i.c.api.DeleteOIDCIssuer(ctx, id, nil))
}
